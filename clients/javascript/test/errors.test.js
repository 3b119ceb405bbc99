import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { inspect } from 'node:util';

import * as sessman from 'sessman';
import { auth, base_url, beside, listen } from './service.js';

const { Session } = sessman;
const options = { base_url, auth };

/** The error of a call, which must be of this kind and show nothing that is secret. */
async function failing(call, name, status) {
    const error = await call.then(() => assert.fail(`no ${name}`), (error) => error);
    assert.ok(error instanceof sessman[name] && error instanceof sessman.SessmanError, inspect(error));
    assert.deepEqual([error.name, error.status], [name, status], inspect(error));
    assert.ok(!inspect(error, { depth: 9 }).includes('the-wrong-key'), inspect(error));
    return error;
}

test('each kind of failure has its class', async () => {
    const wrong = await failing(Session.create('ada', { base_url, auth: 'the-wrong-key' }), 'UnauthorizedError', 401);
    assert.match(wrong.message, /key/);
    await failing(new Session(null, options).load(), 'UnauthorizedError', 401);
    await failing(Session.load('x'.repeat(48), options), 'NotFoundError', 404);
    const session = await Session.create('ada', options);
    await failing(session.rotate('eve'), 'ConflictError', 409);
    const other = await Session.load(session.session_id, options);
    await session.patch({ n: 1 });
    await failing(other.updateSession(), 'ConflictError', 412);
    await failing(session.get_data('new', { tll_seconds: 1 }), 'ValidationError', 400);
    await failing(Session.create('ada', { ...options, data: 'x'.repeat(300_000) }), 'ValidationError', 413);
    await failing(Session.create('ada', { ...options, data: { '\0': 1 } }), 'ValidationError', 422);
    await failing(session.get_data('cleanup'), 'ForbiddenError', 403);
});

test('a client is told when to come back', async () => {
    const limited = { base_url: beside('limited'), auth, metadata: { client_ip: '192.0.2.2' } };
    const begin = () => Session.create('ada', limited);
    await begin();
    const error = await failing(begin(), 'RateLimitError', 429);
    assert.ok(error.retryAfter >= 1 && error.retryAfter <= 60, inspect(error));
    const away = await failing(Session.create('ada', { base_url: beside('away'), auth }), 'UnavailableError', 503);
    assert.ok(away.retryAfter >= 1, inspect(away));
});

test('a service that cannot be reached is away', async () => {
    const closed = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => closed.once('listening', resolve));
    const { port } = closed.address();
    await new Promise((resolve) => closed.close(resolve));
    const nowhere = { base_url: `http://127.0.0.1:${port}/sessman`, auth: 'the-wrong-key' };
    const error = await failing(Session.create('ada', nowhere), 'UnavailableError', undefined);
    assert.match(error.message, new RegExp(`127.0.0.1:${port}.*cannot be reached`));
});

test('an answer that does not come is given up', async (t) => {
    const silent = await listen(t, () => {});
    const error = await failing(Session.create('ada', { base_url: silent, timeout: 50 }), 'UnavailableError', undefined);
    assert.match(error.message, /50 ms/);
});

test('what something else answers is not taken for a session', async (t) => {
    const answers = new Map([
        ['/page/new', [200, 'text/html', '<!doctype html>']],
        ['/proxy/new', [502, 'text/html', '<!doctype html>']],
        ['/broken/new', [500, 'application/problem+json', '{"error":"the plugin failed"}']],
        ['/odd/new', [418, 'text/plain', 'no']],
    ]);
    const other = await listen(t, (request, response) => {
        const [status, type, text] = answers.get(request.url);
        response.writeHead(status, { 'Content-Type': type }).end(text);
    });
    const page = await failing(Session.create('ada', { base_url: `${other}/page` }), 'SessmanError', 200);
    assert.match(page.message, /base_url/);
    await failing(Session.create('ada', { base_url: `${other}/proxy` }), 'UnavailableError', 502);
    const broken = await failing(Session.create('ada', { base_url: `${other}/broken` }), 'ServerError', 500);
    assert.equal(broken.message, 'the plugin failed');
    await failing(Session.create('ada', { base_url: `${other}/odd` }), 'SessmanError', 418);
});

test('a redirect gets neither id nor key', async (t) => {
    const reached = [];
    const there = await listen(t, (request, response) => {
        reached.push(request.url);
        response.end('{}');
    });
    const here = await listen(t, (request, response) => {
        response.writeHead(307, { Location: `${there}${request.url}` }).end();
    });
    await failing(Session.create('ada', { base_url: here, auth: 'the-wrong-key' }), 'UnavailableError', undefined);
    assert.deepEqual(reached, []);
});

test('a tag that a proxy weakened still guards a change', async (t) => {
    const tags = [];
    const weak = await listen(t, async (request, response) => {
        tags.push(request.headers['if-match']);
        response.setHeader('ETag', 'W/"3-1700000000000"');
        response.end('{"session_id":"id","data":{},"version":3}');
    });
    const session = await Session.create('ada', { base_url: weak });
    await session.updateSession();
    assert.deepEqual(tags, [undefined, '"3-1700000000000"']);
});
