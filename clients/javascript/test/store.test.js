import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import session from 'express-session';
import { ConflictError, NotFoundError, Session, UnauthorizedError, UnavailableError, ValidationError } from 'sessman';
import { SessmanStore } from 'sessman/express-session';
import { serve, Visitor } from './express.js';
import { admin_key, auth, beside, eventually } from './service.js';

const base_url = beside('store');
const make = (options) => new SessmanStore({ base_url, auth, admin_key, ...options });
const store = make();

let made = 0;
/** An id such as `express-session` makes them. */
const newId = () => `${'x'.repeat(24)}${String((made += 1)).padStart(8, '0')}`;
const cookie = (more) => ({ originalMaxAge: null, expires: null, path: '/', ...more });

/** The session as a request has it in its hands. */
const load = (sid, by = store) => new Promise((resolve, reject) => {
    by.load(sid, (error, found) => (error ? reject(error) : resolve(found)));
});

test('it is a store, and gives back what it was given', async () => {
    assert.ok(store instanceof session.Store && store instanceof EventEmitter);
    const sid = newId();
    assert.equal(await store.get(sid), undefined);
    const data = { cookie: cookie(), name: 'Åsa', n: 1.5, list: [1, null, { a: [] }], nothing: null, deep: { er: true } };
    await store.set(sid, data);
    assert.deepEqual(await store.get(sid), data);
    await store.set(sid, { cookie: cookie(), other: 1 });
    assert.deepEqual(await store.get(sid), { cookie: cookie(), other: 1 }, 'all of it is replaced');
    await store.destroy(sid);
    assert.equal(await store.get(sid), undefined);
    await store.destroy(sid);
    await store.touch(sid, data);
    assert.equal(await store.get(sid), undefined, 'touch begins nothing');
});

test('a user may be a whole number', async () => {
    const sid = newId();
    const numbered = make({ user: (held) => held.userId });
    await numbered.set(sid, { cookie: cookie(), userId: 42 });
    assert.equal((await numbered.get(sid)).userId, 42);
    await numbered.set(sid, { cookie: cookie(), userId: 42, seen: 1 });
    const told = await Session.load(sid, { base_url, auth });
    assert.equal(told.user, '42');
});

test('callbacks are called once, with what promises give', async () => {
    const sid = newId();
    const call = (method, ...rest) => new Promise((resolve) => {
        store[method](...rest, (...told) => resolve(told));
    });
    const data = { cookie: cookie(), n: 1 };
    assert.deepEqual((await call('set', sid, data))[0], null);
    assert.deepEqual(await call('get', sid), [null, data]);
    assert.equal((await call('touch', sid, data))[0], null);
    assert.equal((await call('destroy', sid))[0], null);
    assert.deepEqual(await call('get', sid), [null, undefined]);
    const loop = { cookie: cookie() };
    loop.loop = loop;
    assert.ok((await call('set', newId(), loop))[0] instanceof TypeError);
    // Nobody waits for it, and nothing happens to the process.
    make({ auth: 'wrong' }).destroy(sid);
});

test('what is refused is an error with its cause, and no visitor is told to log in with a key', async () => {
    const refused = await make({ auth: 'wrong' }).get(newId()).catch((error) => error);
    assert.ok(refused.cause instanceof UnauthorizedError);
    assert.equal(refused.status, undefined);
    const short = await store.set('short', { cookie: cookie() }).catch((error) => error);
    assert.ok(short.cause instanceof ValidationError);
    assert.match(short.message, /external_id/);
    const long = await store.set(newId(), { cookie: cookie({ maxAge: 1e12 }) }).catch((error) => error);
    assert.match(long.message, /ttl_seconds.*max_ttl/);
    const limited = make({ base_url: beside('limited') });
    const req = { ip: '192.0.2.1', headers: {} };
    const begin = () => limited.set(newId(), Object.defineProperty({ cookie: cookie() }, 'req', { value: req }));
    const [{ reason }] = (await Promise.allSettled([begin(), begin()])).filter(({ reason }) => reason);
    assert.ok(reason.status === 429 && reason.retryAfter >= 1, reason);
});

test('an id of its own opens no session of another kind', async () => {
    const other = await Session.create('ada', { base_url, auth, data: { cookie: 'none of ours' } });
    assert.equal(await store.get(other.session_id), undefined);
});

test('requests at the same time do not undo each other', async () => {
    const sid = newId();
    await store.set(sid, { cookie: cookie(), user: 'ada', seen: {} });
    const requests = await Promise.all(Array.from({ length: 16 }, () => load(sid)));
    const save = async (request, index) => {
        if (index === 0) delete request.user;
        else request.seen[index] = index % 2 === 0 ? true : null;
        await store.set(sid, request);
        // Once more in the same request, which does not know of the others.
        request[`again${index}`] = true;
        await store.set(sid, request);
    };
    await Promise.all(requests.map(save));
    const found = await store.get(sid);
    assert.equal(found.user, undefined, 'who logged out is not logged in again');
    assert.equal(Object.keys(found.seen).length, 15);
    assert.equal(Object.keys(found).filter((name) => name.startsWith('again')).length, 16);
});

test('a change is one request, with what was changed alone', async (t) => {
    const sid = newId();
    await store.set(sid, { cookie: new session.Cookie(), kept: 'x'.repeat(1000), n: 1, gone: true });
    const request = await load(sid);
    request.n = 2;
    delete request.gone;
    const sent = t.mock.method(globalThis, 'fetch');
    await store.set(sid, request);
    const bodies = sent.mock.calls.map(({ arguments: [, { method, body }] }) => [method, body]);
    assert.deepEqual(bodies, [['PATCH', '{"n":2,"gone":null}']]);
});

test('a session that ended meanwhile stays ended', async () => {
    const sid = newId();
    await store.set(sid, { cookie: cookie(), n: 1 });
    const request = await load(sid);
    await store.destroy(sid);
    request.n = 2;
    const error = await store.set(sid, request).catch((error) => error);
    assert.ok(error.cause instanceof NotFoundError);
    assert.equal(await store.get(sid), undefined);
});

test('a session lives as long as its cookie', async () => {
    const sid = newId();
    const request = { cookie: new session.Cookie({ maxAge: 3_600_000 }), n: 1 };
    /** Minutes until it ends, ten of them at a time. */
    const left = async () => {
        const found = await store.get(sid);
        return found && Math.ceil((new Date(found.cookie.expires) - Date.now()) / 600_000) * 10;
    };
    await store.set(sid, request);
    assert.equal(await left(), 60);
    // Another age, by a change and by a touch; the session stays what it is.
    request.cookie.maxAge = 7_200_000;
    await store.set(sid, request);
    assert.equal(await left(), 120);
    const read = await load(sid);
    read.cookie.maxAge = 1_800_000;
    await store.touch(sid, read);
    assert.equal(await left(), 30);
    read.m = 2;
    await store.set(sid, read);
    const { n, m } = await store.get(sid);
    assert.deepEqual([n, m], [1, 2]);
    // One that the service does not allow changes nothing.
    read.cookie.maxAge = 1e12;
    const error = await store.touch(sid, read).catch((error) => error);
    assert.ok(error.cause instanceof ValidationError);
    assert.equal(await left(), 30);
    // A date counts, too, and one that is over ends it.
    await store.set(sid, { cookie: { expires: new Date(Date.now() + 5_400_000) } });
    assert.equal(await left(), 90);
    await store.set(sid, { cookie: { expires: new Date(Date.now() - 1) } });
    assert.equal(await store.get(sid), undefined);
});

test('a session does not grow shorter by the milliseconds that requests take', async () => {
    const sid = newId();
    await store.set(sid, { cookie: cookie({ originalMaxAge: 3_599_998, expires: new Date(Date.now() + 3_599_998) }) });
    assert.equal((await store.get(sid)).cookie.originalMaxAge, 3_600_000);
});

test('whose session it is can be told to the service', async () => {
    const bound = make({ user: (session) => session.account?.name });
    const sid = newId();
    const whose = async () => (await Session.load(sid, { base_url, auth })).user;
    await bound.set(sid, { cookie: cookie(), cart: ['book'] });
    assert.equal(await whose(), null);
    const request = await load(sid, bound);
    request.account = { name: 'grace' };
    await bound.set(sid, request);
    assert.equal(await whose(), 'grace');
    assert.deepEqual((await bound.get(sid)).cart, ['book']);
    const service = new Session(null, { base_url, auth });
    service.options.admin_key = admin_key;
    assert.deepEqual((await service.get_data('end-user', { user_id: 'grace' })).ended, 1);
    assert.equal(await bound.get(sid), undefined);
});

test('a request that knows of no login undoes none', async () => {
    const bound = make({ user: (session) => session.account?.name });
    const sid = newId();
    await bound.set(sid, { cookie: new session.Cookie({ maxAge: 3_600_000 }) });
    const [slow, idle, login] = [await load(sid, bound), await load(sid, bound), await load(sid, bound)];
    login.account = { name: 'joan' };
    login.cookie.maxAge = 7_200_000;
    await bound.set(sid, login);
    const { created_at } = await Session.load(sid, { base_url, auth });
    slow.seen = true;
    idle.touch();
    await bound.touch(sid, idle);
    await bound.set(sid, slow);
    const now = await Session.load(sid, { base_url, auth });
    assert.deepEqual([now.user, now.metadata.ttl_seconds, now.created_at], ['joan', 7200, created_at]);
    assert.deepEqual([now.data.account, now.data.seen], [{ name: 'joan' }, true]);
});

/** Holds the first request to a command, from when it is made (`made`) until it may go on (`release`). */
function hold(t, command) {
    const there = globalThis.fetch;
    const events = new EventEmitter();
    const [made, released] = ['made', 'released'].map((name) => once(events, name));
    let isFirst = true;
    t.mock.method(globalThis, 'fetch', async (url, options) => {
        if (isFirst && new URL(url).pathname.endsWith(`/${command}`)) {
            isFirst = false;
            events.emit('made');
            await released;
        }
        return there(url, options);
    });
    return { made, release: () => events.emit('released') };
}

for (const isLate of [true, false]) {
    test(`a logout counts while the session is begun again, if it comes ${isLate ? 'later' : 'earlier'}`, async (t) => {
        const bound = make({ user: (session) => session.account?.name });
        const sid = newId();
        await bound.set(sid, { cookie: cookie() });
        const login = await load(sid, bound);
        login.account = { name: 'mary' };
        // Neither waits for the other for ever.
        const soon = (...promises) => Promise.race([...promises, pause(200)]);
        const [begun, ended] = [hold(t, 'new'), !isLate && hold(t, 'end')];
        let logout = !isLate && bound.destroy(sid);
        await ended.made;
        const renewal = bound.set(sid, login).catch(() => {});
        await soon(begun.made);
        if (isLate) logout = bound.destroy(sid);
        else ended.release();
        await soon(logout);
        begun.release();
        await Promise.all([logout, renewal]);
        assert.equal(await bound.get(sid), undefined);
    });
}

test('a session that could not be begun again is told to be gone', async (t) => {
    const sid = newId();
    await store.set(sid, { cookie: new session.Cookie({ maxAge: 3_600_000 }) });
    const request = await load(sid);
    request.cookie.maxAge = 7_200_000;
    const there = globalThis.fetch;
    t.mock.method(globalThis, 'fetch', async (url, options) => {
        if (new URL(url).pathname.endsWith('/new')) throw new TypeError('fetch failed');
        return there(url, options);
    });
    const error = await store.set(sid, request).catch((error) => error);
    assert.ok(error instanceof UnavailableError && error.cause instanceof UnavailableError);
    assert.equal(error.status, 503);
    assert.match(error.message, /^the session was ended, and could not be begun again: /);
    assert.equal(await store.get(sid), undefined);
});

test('the service learns which visitor it is', async (t) => {
    const { url } = await serve(t, { store }, (app) => {
        app.get('/', (request, response) => {
            request.session.n = 1;
            response.json(request.sessionID);
        });
    });
    const { body: sid } = await new Visitor(url).ask('/');
    const { metadata } = await Session.load(sid, { base_url, auth });
    assert.deepEqual([metadata.client_ip, metadata.user_agent], ['127.0.0.1', 'a visitor']);
});

test('bind_ip binds a session to the visitor, so that the application cannot use it', async () => {
    const bound = make({ base_url: beside('bound') });
    const sid = newId();
    const req = { ip: '192.0.2.1', headers: {} };
    await bound.set(sid, Object.defineProperty({ cookie: cookie() }, 'req', { value: req }));
    assert.equal(await bound.get(sid), undefined);
});

test('all sessions are counted, listed without ids and data, and ended', async () => {
    await store.clear();
    assert.equal(await store.length(), 0);
    const secret = 'what nobody lists';
    const ids = Array.from({ length: 5 }, newId);
    await Promise.all(ids.map((sid) => store.set(sid, { cookie: cookie(), secret })));
    assert.equal(await store.length(), 5);
    const all = await store.all();
    assert.equal(new Set(all.map(({ handle }) => handle)).size, 5);
    assert.ok(all.every(({ cookie }) => cookie.expires > new Date()));
    const told = JSON.stringify(all);
    for (const hidden of [secret, ...ids]) assert.ok(!told.includes(hidden));
    await store.clear();
    assert.deepEqual(await store.all(), []);
    assert.equal(await store.get(ids[0]), undefined);
    const plain = make({ admin_key: undefined });
    for (const method of ['all', 'length', 'clear']) {
        const error = await plain[method]().catch((error) => error);
        assert.match(error.message, /admin_key/);
    }
});

test('a session that cannot begin is an error', async () => {
    const sid = newId();
    const bound = make({ base_url: beside('single'), user: () => 'ada' });
    await bound.set(sid, { cookie: cookie() });
    const error = await bound.set(newId(), { cookie: cookie() }).catch((error) => error);
    assert.ok(error.cause instanceof ConflictError);
    assert.match(error.message, /max_sessions_per_user/);
});

test('while the service is away requests fail as 503, and go on by themselves afterwards', async (t) => {
    const { port, hostname, pathname } = new URL(base_url);
    // A road to the service that can be closed and opened.
    const sockets = new Set();
    let isOpen = true;
    const road = net.createServer((socket) => {
        if (!isOpen) return socket.destroy();
        const there = net.connect(port, hostname);
        for (const [from, to] of [[socket, there], [there, socket]]) {
            sockets.add(from);
            from.pipe(to).on('error', () => {});
            from.on('close', () => to.destroy());
        }
    });
    await new Promise((resolve) => road.listen(0, '127.0.0.1', resolve));
    t.after(() => {
        sockets.forEach((socket) => socket.destroy());
        road.close();
    });
    const far = make({ base_url: `http://127.0.0.1:${road.address().port}${pathname}` });
    const { url, failures } = await serve(t, { store: far }, (app) => {
        app.get('/', (request, response) => {
            request.session.n = (request.session.n ?? 0) + 1;
            response.json(request.session.n);
        });
    });
    const visitor = new Visitor(url);
    assert.equal((await visitor.ask('/')).body, 1);
    isOpen = false;
    sockets.forEach((socket) => socket.destroy());
    const answer = await visitor.ask('/');
    assert.deepEqual([answer.status, answer.cookie], [503, 'none']);
    assert.ok(failures[0] instanceof UnavailableError);
    isOpen = true;
    await eventually(async () => (await visitor.ask('/')).status === 200);
    assert.equal((await visitor.ask('/')).body, 3, 'the session is still there');
});
