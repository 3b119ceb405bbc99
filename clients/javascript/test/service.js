// Where the tests find a service: `/sessman`, and beside it instances of the same host, all with the same key: `/store`
// and `/published`, which have an `admin_key` and which the tests of that name alone may clear; `/limited`, where one
// session may begin in a minute; `/single`, where a user has one session; `/bound`, with `bind_ip`; and `/away`, whose store
// cannot be reached.
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

export const base_url = process.env.SESSMAN_URL ?? 'http://localhost:6123/sessman';
export const auth = process.env.SESSMAN_KEY;
export const admin_key = process.env.SESSMAN_ADMIN_KEY;

/** The mount of another instance of the same host. */
export const beside = (name) => new URL(`/${name}`, base_url).href;

/** What an HTTP server of ours listens on; it ends with the test. */
export async function listen(test, listener) {
    const server = http.createServer(listener).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    test.after(() => {
        server.closeAllConnections();
        server.close();
    });
    return `http://127.0.0.1:${server.address().port}`;
}

/** Waits until `condition` holds; a minute is longer than anything takes. */
export async function eventually(condition) {
    for (const end = Date.now() + 60_000; !(await condition()); await pause(20)) {
        if (Date.now() > end) throw new Error(`never: ${condition}`);
    }
}
