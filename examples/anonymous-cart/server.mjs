// A cart that a visitor fills before logging in, and keeps. One session all along: at login it gets a user and another id.
import express from 'express';
import { NotFoundError, Session } from 'sessman';

const { SESSMAN_URL, SESSMAN_KEY, PORT = 3000 } = process.env;
const options = { base_url: SESSMAN_URL ?? 'http://localhost:6123/sessman', auth: SESSMAN_KEY };

/** The visitor's session, as far as there is one that lives. */
async function find(request) {
    const id = /(?:^|; )cart=([^;]+)/.exec(request.headers.cookie)?.[1];
    if (!id) return null;
    return Session.load(id, options).catch((error) => {
        if (error instanceof NotFoundError) return null;
        throw error;
    });
}

function answer(response, session) {
    // Browsers send it by HTTPS alone, and to localhost.
    response.cookie('cart', session.session_id, { httpOnly: true, sameSite: 'lax', secure: true });
    response.json({ user: session.user, cart: session.data.cart });
}

const app = express();
app.use(express.json());

app.get('/cart', async (request, response) => {
    const session = await find(request);
    response.json({ user: session?.user ?? null, cart: session?.data.cart ?? [] });
});

app.post('/cart', async (request, response) => {
    const session = (await find(request)) ?? (await Session.create(null, { ...options, data: { cart: [] } }));
    await session.change((data) => {
        data.cart.push(request.body.item);
    });
    answer(response, session);
});

// It believes any name: here goes the question for a password.
app.post('/login', async (request, response) => {
    const session = (await find(request)) ?? (await Session.create(null, { ...options, data: { cart: [] } }));
    await session.rotate(request.body.name);
    answer(response, session);
});

const server = app.listen(Number(PORT), '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
