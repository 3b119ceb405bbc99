// Lets the published tests of other stores, as they come from npm, test ours: what they load as their own store is ours
// in the shape of theirs. Loaded by mocha before them.
const Module = require('node:module');

const { SESSMAN_URL, SESSMAN_KEY: auth, SESSMAN_ADMIN_KEY: admin_key } = process.env;

let store;

/** Their ids are shorter than any that would be safe. */
const padded = (sid) => `an-id-of-a-published-test-${sid}`;

/** As it is, but for its age of a second or two, which would be over on a busy machine. */
function aged(session) {
    const cookie = Object.defineProperty({ ...session.cookie }, 'originalMaxAge', { value: 3_600_000 });
    return { ...session, cookie };
}

/** What sqlite3 hands to callbacks, which its tests look at: the rows that a write gives, and whether it was done. */
const GIVEN = { set: [], clear: true };

/** One call after the other, as they begin the next without waiting for the last. */
function Theirs() {
    const calls = { stopInterval() {} };
    let last = Promise.resolve();
    for (const method of ['get', 'set', 'touch', 'destroy', 'length', 'clear']) {
        calls[method] = (...given) => {
            const callback = typeof given.at(-1) === 'function' ? given.pop() : () => {};
            if (given.length > 0) given[0] = padded(given[0]);
            if (given.length > 1) given[1] = aged(given[1]);
            last = last.then(() => store[method](...given)).then(
                (value) => setImmediate(callback, null, GIVEN[method] ?? value),
                (error) => setImmediate(callback, error),
            );
        };
    }
    return calls;
}

const LOADED = new Map([
    ['../lib/connect-sqlite3.js', () => Theirs],
    ['sqlite3', { Database: class { close() {} } }],
    ['../', () => Theirs],
]);

const load = Module._load;
Module._load = function (request, parent, ...rest) {
    const isTheirs = /(connect-sqlite3|memorystore).test/.test(parent?.filename);
    return isTheirs && LOADED.has(request) ? LOADED.get(request) : load.call(this, request, parent, ...rest);
};

exports.mochaHooks = {
    async beforeAll() {
        const { SessmanStore } = await import('sessman/express-session');
        store = new SessmanStore({ base_url: new URL('/published', SESSMAN_URL).href, auth, admin_key });
    },
    async afterEach() {
        // Memory begins empty each time; the cases for SQLite go on where the last one ended.
        if (this.currentTest.parent.title === 'MemoryStore') await store.clear();
    },
};
