// A shop with `express-session`: login, cart and logout.
import { randomBytes } from 'node:crypto';

import express from 'express';
import session from 'express-session';
import { SessmanStore } from 'sessman/express-session';

const { SESSMAN_URL, SESSMAN_KEY, COOKIE_SECRET, PORT = 3000 } = process.env;

const app = express();
// A proxy on this machine that ends TLS says so in X-Forwarded-Proto.
app.set('trust proxy', 'loopback');
app.use(express.json());
app.use(
    session({
        store: new SessmanStore({ base_url: SESSMAN_URL, auth: SESSMAN_KEY, user: (session) => session.user }),
        // Without one of its own each start makes all cookies void.
        secret: COOKIE_SECRET ?? randomBytes(32).toString('hex'),
        resave: false,
        saveUninitialized: false,
        // `auto`: Secure, but for plain HTTP, as while it is tried on localhost. Write `true` where it serves people.
        cookie: { maxAge: 3_600_000, sameSite: 'lax', secure: 'auto' },
    }),
);

const show = (request, response) => {
    const { user = null, cart = [] } = request.session;
    response.json({ user, cart });
};

app.get('/cart', show);

app.post('/cart', (request, response) => {
    request.session.cart = [...(request.session.cart ?? []), request.body.item];
    show(request, response);
});

// It believes any name: here goes the question for a password.
app.post('/login', (request, response, next) => {
    const { cart } = request.session;
    // Another id for who logs in, so that one which somebody planted is worth nothing.
    request.session.regenerate((error) => {
        if (error) return next(error);
        Object.assign(request.session, { user: request.body.name, cart });
        show(request, response);
    });
});

app.get('/account', (request, response) => {
    if (!request.session.user) return response.status(401).json({ error: 'log in first' });
    response.json({ name: request.session.user });
});

app.post('/logout', (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.clearCookie('connect.sid').json({ user: null })));
});

const server = app.listen(Number(PORT), '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
