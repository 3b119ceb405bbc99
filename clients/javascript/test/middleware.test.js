// `express-session` must not see a difference between our store and the one that it comes with.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import session from 'express-session';
import { SessmanStore } from 'sessman/express-session';
import { serve, Visitor } from './express.js';
import { auth, base_url, eventually } from './service.js';

/** In seconds: `express-session` may lose a millisecond on the way. */
const age = ({ originalMaxAge }) => originalMaxAge && Math.round(originalMaxAge / 1000);

function routes(app) {
    const count = (request) => (request.session.n = (request.session.n ?? 0) + 1);
    app.get('/count', (request, response) => response.json(count(request)));
    app.get('/look', (request, response) => response.json(request.session.n ?? 0));
    app.get('/regenerate', (request, response, next) => {
        request.session.regenerate((error) => (error ? next(error) : response.json((request.session.n = 100))));
    });
    app.get('/destroy', (request, response, next) => {
        request.session.destroy((error) => (error ? next(error) : response.json('gone')));
    });
    app.get('/unset', (request, response) => {
        request.session = null;
        response.json('unset');
    });
    app.get('/reload', (request, response, next) => {
        request.session.n = 999;
        request.session.reload((error) => (error ? next(error) : response.json(request.session.n)));
    });
    app.get('/save', (request, response, next) => {
        count(request);
        request.session.save((error) => (error ? next(error) : response.json(count(request))));
    });
    app.get('/null', (request, response) => response.json((request.session.nothing = null)));
    app.get('/keys', (request, response) => response.json(Object.keys(request.session).sort()));
    app.get('/forget', (request, response) => response.json(delete request.session.n));
    app.get('/remember/:age', (request, response) => {
        request.session.cookie.maxAge = Number(request.params.age) || null;
        response.json(age(request.session.cookie));
    });
    app.get('/age', (request, response) => response.json(age(request.session.cookie)));
}

/** What is configured, and the requests with what each answers and which cookie it sets. */
const SCENARIOS = {
    'a session begins with its first change': [
        {},
        [['/look', 0, 'none'], ['/count', 1, 'first'], ['/count', 2, 'none'], ['/look', 2, 'none']],
    ],
    'a session may begin with the first request': [
        { saveUninitialized: true },
        [['/look', 0, 'first'], ['/look', 0, 'none'], ['/count', 1, 'none'], ['/count', 2, 'none']],
    ],
    'a session is saved although nothing changed': [
        { resave: true },
        [['/count', 1, 'first'], ['/look', 1, 'none'], ['/look', 1, 'none'], ['/count', 2, 'none']],
    ],
    'members are added, set to null and removed': [
        {},
        [
            ['/count', 1, 'first'],
            ['/null', null, 'none'],
            ['/keys', ['cookie', 'n', 'nothing'], 'none'],
            ['/forget', true, 'none'],
            ['/keys', ['cookie', 'nothing'], 'none'],
        ],
    ],
    'a rolling cookie is set with each answer': [
        { rolling: true, cookie: { maxAge: 60_000 } },
        [['/count', 1, 'first'], ['/look', 1, 'again'], ['/age', 60, 'again']],
    ],
    'a cookie with an age is set again with each change': [
        { cookie: { maxAge: 60_000 } },
        [['/count', 1, 'first'], ['/look', 1, 'none'], ['/count', 2, 'again'], ['/age', 60, 'none']],
    ],
    'a session that is unset is kept': [
        {},
        [['/count', 1, 'first'], ['/unset', 'unset', 'none'], ['/count', 2, 'none']],
    ],
    'a session that is unset ends': [
        { unset: 'destroy' },
        [['/count', 1, 'first'], ['/unset', 'unset', 'none'], ['/look', 0, 'none'], ['/count', 1, 'another']],
    ],
    'a session that is destroyed ends': [
        {},
        [['/count', 1, 'first'], ['/destroy', 'gone', 'none'], ['/look', 0, 'none'], ['/count', 1, 'another']],
    ],
    'a session is regenerated under another id': [
        {},
        [['/count', 1, 'first'], ['/regenerate', 100, 'another'], ['/count', 101, 'none']],
    ],
    'a session is saved twice and read anew in one request': [
        {},
        [['/save', 2, 'first'], ['/look', 2, 'none'], ['/save', 4, 'none'], ['/reload', 4, 'none'], ['/look', 4, 'none']],
    ],
    'a session gets another age, and none': [
        {},
        [
            ['/count', 1, 'first'],
            ['/remember/90000', 90, 'none'],
            ['/age', 90, 'none'],
            ['/count', 2, 'again'],
            ['/remember/0', null, 'none'],
            ['/age', null, 'none'],
            ['/count', 3, 'none'],
        ],
    ],
};

const ours = () => new SessmanStore({ base_url, auth });

for (const [name, [options, steps]] of Object.entries(SCENARIOS)) {
    for (const store of [new session.MemoryStore(), ours()]) {
        test(`${name}, in ${store.constructor.name}`, async (t) => {
            const { url, failures } = await serve(t, { store, ...options }, routes);
            const visitor = new Visitor(url);
            for (const [path, body, cookie] of steps) {
                const answer = await visitor.ask(path);
                assert.deepEqual({ ...answer, set: undefined }, { status: 200, body, cookie, set: undefined }, path);
            }
            assert.deepEqual(failures, []);
        });
    }
}

for (const store of [new session.MemoryStore(), ours()]) {
    test(`an id that is no session, forged or old begins anew, in ${store.constructor.name}`, async (t) => {
        const { url } = await serve(t, { store }, routes);
        const visitor = new Visitor(url);
        await visitor.ask('/count');
        const old = visitor.cookie;
        await visitor.ask('/regenerate');
        for (const cookie of [old, `${old}x`, 'connect.sid=s%3Anone.none', 'connect.sid=none']) {
            const answer = await new Visitor(url, cookie).ask('/count');
            assert.deepEqual([answer.body, answer.cookie], [1, 'another'], cookie);
        }
        assert.equal((await visitor.ask('/count')).body, 101);
    });

    /** What the store has of a visitor's session. Each request is a use of it, from which its time begins again. */
    const found = (visitor) => new Promise((resolve, reject) => {
        const sid = decodeURIComponent(visitor.cookie).slice('connect.sid=s:'.length).split('.')[0];
        store.get(sid, (error, found) => (error ? reject(error) : resolve(found)));
    });

    test(`a session knows when its cookie ends, in ${store.constructor.name}`, async (t) => {
        const { url } = await serve(t, { store, cookie: { maxAge: 3_600_000 } }, routes);
        const visitor = new Visitor(url);
        assert.match((await visitor.ask('/count')).set, /Expires=/);
        const { cookie } = await found(visitor);
        const left = new Date(cookie.expires) - Date.now();
        assert.ok(left > 3_000_000 && left <= 3_600_000, `${left} ms`);
    });

    test(`a session ends with its cookie, in ${store.constructor.name}`, async (t) => {
        const { url } = await serve(t, { store, cookie: { maxAge: 1000 } }, routes);
        const visitor = new Visitor(url);
        assert.equal((await visitor.ask('/count')).cookie, 'first');
        await eventually(async () => !(await found(visitor)));
        assert.equal((await visitor.ask('/look')).body, 0);
    });
}
