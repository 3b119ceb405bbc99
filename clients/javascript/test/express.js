// Applications with `express-session`, and a visitor with a browser's memory for cookies.
import { once } from 'node:events';

import express from 'express';
import session from 'express-session';

/** Serves an application with sessions until the test ends; gives its address and what went wrong in it. */
export async function serve(test, options, routes) {
    const failures = [];
    const app = express();
    app.set('env', 'test');
    app.use(session({ secret: 'only for tests', resave: false, saveUninitialized: false, ...options }));
    routes(app);
    app.use((error, request, response, next) => {
        failures.push(error);
        next(error);
    });
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    test.after(() => {
        server.closeAllConnections();
        server.close();
    });
    return { url: `http://127.0.0.1:${server.address().port}`, failures };
}

export class Visitor {
    cookie;

    constructor(url, cookie) {
        this.url = url;
        this.cookie = cookie;
    }

    /** Says what the answer holds, and whether it set a cookie: the first one, the same again, another one, or none. */
    async ask(path, method = 'GET') {
        const headers = { 'User-Agent': 'a visitor', ...(this.cookie && { Cookie: this.cookie }) };
        const response = await fetch(this.url + path, { method, headers });
        const text = await response.text();
        const set = response.headers.getSetCookie()[0];
        const value = set?.split(';')[0];
        const cookie = !set ? 'none' : !this.cookie ? 'first' : value === this.cookie ? 'again' : 'another';
        if (set) this.cookie = value;
        const isJson = response.headers.get('Content-Type')?.includes('json');
        return { status: response.status, body: isJson ? JSON.parse(text) : text, cookie, set };
    }
}
