import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';

import { ConflictError, NotFoundError, Session, ValidationError } from 'sessman';
import { auth, base_url, eventually } from './service.js';

const options = { base_url, auth };

test('a session begins, changes, is read elsewhere and ends', async () => {
    const session = await Session.create('ada', { ...options, data: { theme: 'dark', cart: [] } });
    assert.match(session.session_id, /^[\w-]{48}$/);
    assert.deepEqual([session.user, session.version, session.data.theme], ['ada', 1, 'dark']);
    session.data.cart.push('book');
    await session.updateSession();
    assert.equal(session.version, 2);

    const elsewhere = await Session.load(session.session_id, options);
    assert.deepEqual(elsewhere.data, { theme: 'dark', cart: ['book'] });
    assert.deepEqual([elsewhere.user, elsewhere.handle], ['ada', session.handle]);
    await elsewhere.patch({ theme: null, seen: { today: 1 } });
    assert.deepEqual(elsewhere.data, { cart: ['book'], seen: { today: 1 } });

    assert.equal(await session.validate(), true);
    await session.end();
    assert.equal(session.session_id, undefined);
    assert.equal(await elsewhere.validate(), false);
    for (const late of [() => elsewhere.load(), () => elsewhere.updateSession(), () => elsewhere.patch({ a: 1 })]) {
        await assert.rejects(late, NotFoundError);
    }
});

test('a user may be a whole number', async () => {
    for (const user of [42, 42n]) {
        const session = await Session.create(user, options);
        assert.equal(session.user, '42');
        assert.equal((await Session.load(session.session_id, options)).user, '42');
    }
    const visitor = await Session.create(null, options);
    await visitor.rotate(42);
    assert.equal(visitor.user, '42');
    for (const other of [1.5, NaN, 2 ** 53, true, {}]) {
        await assert.rejects(async () => Session.create(other, options), TypeError);
        await assert.rejects(visitor.rotate(other), TypeError);
    }
});

test('whoever is late is told, and may insist', async () => {
    const one = await Session.create(null, { ...options, data: { n: 1 } });
    const other = await Session.load(one.session_id, options);
    one.data.n = 2;
    await one.updateSession();
    other.data.n = 3;
    await assert.rejects(other.updateSession(), ConflictError);
    assert.equal(other.data.n, 3, 'what was to be sent is still there');
    await other.updateSession({ force: true });
    assert.deepEqual((await one.load()).data, { n: 3 });
});

test('of changes at the same time none is lost', async () => {
    const { session_id } = await Session.create(null, { ...options, data: { n: 0 } });
    let calls = 0;
    const add = async () => {
        const session = await Session.load(session_id, options);
        await session.change((data) => {
            calls += 1;
            data.n += 1;
        });
        return session.data.n;
    };
    const seen = await Promise.all(Array.from({ length: 8 }, add));
    assert.deepEqual(seen.sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert.ok(calls > 8, 'some had to begin again');
});

test('a change begins with what the service has, and gives up in the end', async () => {
    const session = await Session.create(null, { ...options, data: { n: 1 } });
    session.data.unsent = true;
    await session.change((data) => ({ ...data, m: 2 }));
    assert.deepEqual(session.data, { n: 1, m: 2 });
    const other = await Session.load(session.session_id, options);
    const always = session.change(() => other.patch({ n: Math.random() }).then(() => undefined), { attempts: 3 });
    await assert.rejects(always, ConflictError);
    const failing = session.change(() => {
        throw new RangeError('no such move');
    });
    await assert.rejects(failing, RangeError);
});

test('a visitor logs in under another id', async () => {
    const visitor = await Session.create(null, { ...options, data: { cart: ['book'] } });
    const old = visitor.session_id;
    await visitor.rotate('ada');
    assert.notEqual(visitor.session_id, old);
    assert.deepEqual([visitor.user, visitor.data], ['ada', { cart: ['book'] }]);
    assert.ok(visitor.auth_time);
    await assert.rejects(Session.load(old, options), NotFoundError);
    await assert.rejects(visitor.rotate('eve'), ConflictError);
    const again = await visitor.rotate();
    assert.equal(again.user, 'ada');
});

test('touch lets its time begin again and keeps what was not sent', async () => {
    const session = await Session.create(null, { ...options, ttl_seconds: 100, metadata: { device: 'phone' } });
    const before = session.expires_at;
    session.data.draft = 'x';
    await eventually(async () => (await session.touch()).expires_at > before);
    assert.deepEqual([session.data, session.metadata.device], [{ draft: 'x' }, 'phone']);
    await session.updateSession();
    assert.equal(session.version, 2);
});

test('a session ends on time', async () => {
    const session = await Session.create(null, { ...options, ttl_seconds: 1 });
    assert.equal(new Date(session.expires_at) - new Date(session.created_at), 1000);
    await eventually(async () => !(await session.validate()));
    await assert.rejects(session.load(), NotFoundError);
});

test('what goes out has ids and keys in headers alone', async (t) => {
    const requests = t.mock.method(globalThis, 'fetch');
    const session = await Session.create('ada', options);
    const id = session.session_id;
    await session.load();
    await session.touch();
    await session.patch({ a: 1 });
    await session.get_data('get', { sessionid: id, userid: 'ada' });
    await session.rotate();
    const second = session.session_id;
    await session.end();
    const sent = requests.mock.calls.map(({ arguments: [url, { headers, body }] }) => ({ url, headers, body }));
    assert.equal(sent.length, 7);
    for (const { url, headers, body } of sent) {
        for (const secret of [id, second, auth]) assert.ok(!`${url} ${body}`.includes(secret), url);
        assert.equal(headers.Authorization, `Bearer ${auth}`);
    }
    assert.equal(sent.filter(({ headers }) => [id, second].includes(headers['X-Session-Id'])).length, 6);
});

test('the names of the class that the original host came with are there', async () => {
    const session = new Session('ada', { base_url, auth, data: { n: 1 } });
    assert.deepEqual([session.base_url, session.user, session.data], [base_url, 'ada', { n: 1 }]);
    assert.equal(session.options.auth, auth);
    await session.createSession();
    const { session_id } = session;
    assert.equal(session.get_command_url('new', { user: 'a b&c' }), `${base_url}/new?user=a+b%26c`);
    assert.equal(session.get_command_url('stats'), `${base_url}/stats`);
    assert.throws(() => session.get_command_url('get', { session_id }), /headers/);
    const updated = await session.get_data('update', { session_id }, { n: 2 });
    assert.deepEqual(updated.data, { n: 2 });
    const read = await session.get_data('get', { sessionid: session_id, userid: 'ada' });
    assert.deepEqual(read.data, { n: 2 });
    await assert.rejects(session.get_data('get', { session_id, userid: 'eve' }), NotFoundError);
});

test('a session that is printed shows neither id nor key', async () => {
    const session = await Session.create('ada', options);
    for (const printed of [inspect(session, { depth: 9 }), JSON.stringify(session)]) {
        assert.ok(printed.includes('ada'));
        for (const secret of [session.session_id, auth]) assert.ok(!printed.includes(secret), printed);
    }
});

test('what cannot be is refused before it is sent', async () => {
    for (const wrong of ['sessman', 'ftp://a/sessman', 'http://user:secret@a/sessman', 'http://a/sessman?key=secret']) {
        assert.throws(() => new Session('ada', { base_url: wrong }), (error) => {
            return error instanceof TypeError && /base_url/.test(error.message) && !error.message.includes('secret');
        });
    }
    const key = 'secret\nkey';
    assert.throws(() => new Session('ada', { base_url, auth: key }), (error) => !error.message.includes('secret'));
    const session = new Session('ada', options);
    session.options.auth = key;
    await assert.rejects(session.createSession(), (error) => !inspect(error).includes('secret'));
    await assert.rejects(Session.load('no\nid', options), NotFoundError);
    await assert.rejects(Session.create('', options), ValidationError);
});
