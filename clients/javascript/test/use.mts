// What the types allow and what they do not; compiled by types.test.js, never run.
import session from 'express-session';
import { ConflictError, RateLimitError, Session, SessmanError, UnavailableError } from 'sessman';
import { SessmanStore } from 'sessman/express-session';

declare module 'express-session' {
    interface SessionData {
        account: { name: string };
    }
}

interface Cart {
    items: string[];
}

const made: Session<Cart> = await Session.create('ada', { data: { items: ['book'] }, ttl_seconds: 60 });
made.data.items.push('pen');
await made.updateSession({ force: true });
await made.change((cart) => void cart.items.push('cup'));
await made.change((cart) => ({ items: [...cart.items, 'cup'] }), { attempts: 3 });
await made.patch({ items: null });
const id: string | undefined = made.session_id;
const chained: Session<Cart> = await (await made.touch()).rotate('ada');
const lives: boolean = await chained.validate();
const loaded = await Session.load<Cart>(id, { credentials: 'include' });
const first: string = loaded.data.items[0];
made.session_id = undefined;
void [lives, first];

// @ts-expect-error: a number is no list.
made.data.items = 1;
// @ts-expect-error: a slip in a name is one.
await Session.create('ada', { ttl_second: 60 });
// @ts-expect-error: a change gives such data or none.
await made.change(() => 5);

try {
    await made.end();
} catch (error) {
    if (error instanceof UnavailableError || error instanceof RateLimitError) {
        const seconds: number | undefined = error.retryAfter;
        void seconds;
    } else if (error instanceof ConflictError) {
        const status: number | undefined = error.status;
        void status;
    } else if (!(error instanceof SessmanError)) {
        throw error;
    }
}

const store = new SessmanStore({ auth: 'key', admin_key: 'key', user: (session) => session.account?.name });
session({ secret: 'text', resave: false, saveUninitialized: false, store });
const count: number = await store.length();
const handles: string[] = (await store.all()).map((summary) => summary.handle);
store.get('id', (error, found) => void [error, found?.account?.name, count, handles]);
// @ts-expect-error: there is no such option.
new SessmanStore({ prefix: 'x' });
