import session from 'express-session';

import { BASE_URL, checkAccess, send } from './client.js';
import { ConflictError, NotFoundError, RateLimitError, SessmanError, UnavailableError } from './errors.js';
import { difference, isObject, merged } from './merge.js';
import { retryConflicts } from './retry.js';
import { userText } from './user.js';

/** How often a change starts again because other requests changed the same session. */
const ATTEMPTS = 50;

/**
 * A store for `express-session`. The id that `express-session` makes is the session's `external_id`, so that it is kept
 * nowhere but in the visitor's cookie. Every method takes a callback, or is waited for as a promise.
 */
export class SessmanStore extends session.Store {
    #access;
    #admin;
    #user;
    /** For each session that is in a request's hands, what of it was read. */
    #held = new WeakMap();
    /** For each id that is being ended for good, and for each that is being begun again, when that is done. */
    #endings = new Map();
    #renewals = new Map();

    /**
     * @param {object} [options] `base_url`, `auth`, `timeout`; `admin_key` for `all`, `length` and `clear`; `user`, which
     * says of a session whose it is
     */
    constructor({ base_url = BASE_URL, auth, timeout, admin_key, user } = {}) {
        super();
        this.#access = { base_url, auth, timeout };
        this.#admin = { ...this.#access, admin_key };
        this.#user = user;
        checkAccess(this.#admin);
    }

    get(sid, callback) {
        return answer(this.#get(sid), callback);
    }

    set(sid, session, callback) {
        return answer(this.#set(sid, session), callback);
    }

    touch(sid, session, callback) {
        return answer(this.#touch(sid, session), callback);
    }

    destroy(sid, callback) {
        return answer(this.#end(sid), callback);
    }

    all(callback) {
        return answer(this.#all(), callback);
    }

    length(callback) {
        return answer(this.#length(), callback);
    }

    clear(callback) {
        return answer(this.#clear(), callback);
    }

    /** What `express-session` makes of what `get` gave: from here on it is known what a later `set` changes. */
    createSession(request, saved) {
        const base = this.#held.get(saved);
        const made = super.createSession(request, saved);
        if (base) this.#held.set(made, base);
        return made;
    }

    async #get(sid) {
        const found = await unlessMissing(send(this.#access, 'GET', 'get', { session_id: sid }));
        // One that did not begin here is none of this application.
        if (!isObject(found?.json.data?.cookie)) return undefined;
        const { data, expires_at, metadata } = found.json;
        if (data.cookie.expires) data.cookie.expires = expires_at;
        // The clock may tick while `express-session` computes an age from a date: each request could take a millisecond off.
        const { originalMaxAge } = data.cookie;
        if (typeof originalMaxAge === 'number' && seconds(originalMaxAge) === metadata.ttl_seconds) {
            data.cookie.originalMaxAge = metadata.ttl_seconds * 1000;
        }
        this.#held.set(data, structuredClone(data));
        return data;
    }

    async #set(sid, session) {
        const data = JSON.parse(JSON.stringify(session));
        if (secondsToLive(session.cookie) <= 0) return this.#end(sid);
        const base = this.#held.get(session);
        const { json } = await (base ? this.#change(sid, base, data) : this.#write(sid, data, session));
        // What others changed counts, too: a request that knows of no login must not undo it.
        await this.#keepTerms(sid, session, json, this.#terms(base ? json.data : session));
        this.#held.set(session, data);
        return undefined;
    }

    async #touch(sid, session) {
        if (secondsToLive(session.cookie) <= 0) return this.#end(sid);
        // One that ended meanwhile is no error: there is nothing to keep.
        const touched = await unlessMissing(send(this.#access, 'POST', 'touch', { session_id: sid }));
        if (!touched) return undefined;
        const { json } = touched;
        const cookie = JSON.parse(JSON.stringify(session.cookie));
        const base = this.#held.get(session);
        json.data.cookie = base ? merged(base.cookie, cookie, json.data.cookie) : cookie;
        return this.#keepTerms(sid, session, json, this.#terms(json.data));
    }

    /** Ends it for good: not in the moment in which there is none because it is being begun again. */
    async #end(sid) {
        await inTurn(sid, this.#endings, this.#renewals, () => this.#endNow(sid));
    }

    /** Ends it; `undefined` if there is none. */
    #endNow(sid) {
        return unlessMissing(send(this.#access, 'POST', 'end', { session_id: sid }));
    }

    async #all() {
        const sessions = [];
        let cursor = '';
        do {
            const { json } = await send(this.#admin, 'GET', `list?limit=1000${cursor && `&cursor=${cursor}`}`);
            const cookie = (expires_at) => ({ originalMaxAge: null, expires: new Date(expires_at) });
            sessions.push(...json.sessions.map((told) => ({ ...told, cookie: cookie(told.expires_at) })));
            cursor = json.next;
        } while (cursor);
        return sessions;
    }

    async #length() {
        const { json } = await send(this.#admin, 'GET', 'stats');
        return json.active;
    }

    async #clear() {
        await send(this.#admin, 'POST', 'clear', { body: { confirm: 'yes' } });
    }

    /** Writes a session that was read here. What others wrote meanwhile stays, where this request left it alone. */
    #change(sid, base, data) {
        const body = difference(base, data);
        if (body) return send(this.#access, 'PATCH', 'update', { session_id: sid, body });
        return retryConflicts(ATTEMPTS, async () => {
            const { json, etag } = await send(this.#access, 'GET', 'get', { session_id: sid });
            return this.#replace(sid, merged(base, data, json.data), etag);
        });
    }

    /** Writes a session that was not read here: a new one, or whatever is there with that id. */
    async #write(sid, data, session) {
        try {
            return await this.#new(sid, data, session, this.#terms(session));
        } catch (error) {
            if (!(error instanceof ConflictError)) throw error;
            const replaced = await unlessMissing(this.#replace(sid, data, '*'));
            if (!replaced) throw error;
            return replaced;
        }
    }

    #replace(sid, data, etag) {
        return send(this.#access, 'POST', 'update', { session_id: sid, etag, body: { data, mode: 'replace' } });
    }

    #new(sid, data, session, { ttl_seconds, user_id }) {
        const { ip, headers } = session.req ?? {};
        const metadata = { ttl_seconds, client_ip: ip, user_agent: headers?.['user-agent'] };
        const body = { external_id: sid, data, ttl_seconds, user_id, metadata };
        return send(this.#access, 'POST', 'new', { body });
    }

    /** What a session is fixed to when it begins. */
    #terms(session) {
        return { ttl_seconds: secondsToLive(session.cookie), user_id: userText(this.#user?.(session)) };
    }

    /**
     * If the session `told` by the service has not these terms, it is ended and begun again under the same id; if it cannot
     * have them, as it was.
     */
    async #keepTerms(sid, session, told, terms) {
        const had = { ttl_seconds: told.metadata.ttl_seconds, user_id: told.user_id ?? undefined };
        if (had.ttl_seconds === terms.ttl_seconds && (!this.#user || had.user_id === terms.user_id)) return;
        await inTurn(sid, this.#renewals, this.#endings, () => this.#renew(sid, session, told.data, terms, had));
    }

    async #renew(sid, session, data, terms, had) {
        // Whoever ends it begins it again: another request may be at it, or a visitor has logged out.
        if (!(await this.#endNow(sid))) return;
        try {
            await this.#new(sid, data, session, terms);
        } catch (error) {
            await this.#new(sid, data, session, had).catch(({ constructor, message, status, retryAfter }) => {
                const lost = `the session was ended, and could not be begun again: ${message}`;
                throw new constructor(lost, status, { cause: error, retryAfter });
            });
            throw error;
        }
    }
}

/** Does `work` on a session when none of the `others` is at it, and lets those wait until it is done. */
async function inTurn(sid, mine, others, work) {
    while (others.has(sid)) await others.get(sid);
    const result = work();
    const done = Promise.allSettled([mine.get(sid), result]).then(() => {
        // Several may be at it; the last one waits for all.
        if (mine.get(sid) === done) mine.delete(sid);
    });
    mine.set(sid, done);
    return result;
}

/** Whole seconds from each use of a session to its end; `undefined` if the cookie ends with the browser. */
function secondsToLive(cookie = {}) {
    // Each request lets `originalMaxAge` begin again; `maxAge` is what is left of it.
    const given = [cookie.originalMaxAge, cookie.maxAge].find((age) => typeof age === 'number');
    const milliseconds = given ?? (cookie.expires ? new Date(cookie.expires) - Date.now() : undefined);
    return milliseconds === undefined ? undefined : seconds(milliseconds);
}

function seconds(milliseconds) {
    return Math.ceil(milliseconds / 1000);
}

async function unlessMissing(request) {
    try {
        return await request;
    } catch (error) {
        if (error instanceof NotFoundError) return undefined;
        throw error;
    }
}

function answer(promise, callback) {
    const told = promise.catch((error) => {
        throw forExpress(error);
    });
    // A callback that throws must not be called a second time.
    told.then(
        (value) => callback && setImmediate(callback, null, value),
        (error) => callback && setImmediate(callback, error),
    );
    return told;
}

/**
 * Express answers with the `status` of an error. A visitor can do something about a service that is away, or logins that
 * come too fast; what the service refused this application is no fault of a visitor's request.
 */
function forExpress(error) {
    if (error instanceof UnavailableError) error.status ??= 503;
    const isForVisitors = error instanceof UnavailableError || error instanceof RateLimitError;
    if (isForVisitors || !(error instanceof SessmanError)) return error;
    return new Error(`the session service refused: ${error.message}`, { cause: error });
}
