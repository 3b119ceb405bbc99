// One request to the service. Ids and keys travel in headers: an URL ends up in logs and histories.
import { fromAnswer, NotFoundError, SessmanError, UnavailableError } from './errors.js';

/** Where `cargo xtask run` serves. */
export const BASE_URL = 'http://localhost:6123/sessman';

/** Milliseconds until a request is given up. */
const TIMEOUT = 10_000;

/** What a header can hold. `fetch` would show the rest of a key in its error. */
const VISIBLE = /^[\x21-\x7e]+$/;

/**
 * Where the service is, and the keys to it.
 *
 * @typedef {object} Access
 * @property {string} base_url the service's mount
 * @property {string | null} [auth] its key
 * @property {string} [admin_key] the key for administrators
 * @property {RequestCredentials} [credentials] whether cookies go along
 * @property {number} [timeout] milliseconds
 */

/** Throws if requests could not be made, or would show what is secret. */
export function checkAccess({ base_url, auth, admin_key }) {
    const url = located(base_url);
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
        throw new TypeError('base_url: expected a URL such as http://localhost:6123/sessman, without user or query');
    }
    for (const [name, key] of Object.entries({ auth, admin_key })) {
        if (key !== undefined && key !== null && !(typeof key === 'string' && VISIBLE.test(key))) {
            throw new TypeError(`${name}: expected a key without spaces`);
        }
    }
}

/** In a page it may be a path alone. */
function located(base_url) {
    const page = globalThis.location?.href;
    return URL.canParse(base_url, page) ? new URL(base_url, page) : undefined;
}

/** The address of a route. */
export function address(base_url, route) {
    return `${base_url.replace(/\/+$/, '')}/${route}`;
}

/**
 * Sends a request and waits for its answer.
 *
 * @param {Access} access
 * @param {'GET' | 'POST' | 'PATCH'} method
 * @param {string} route with its query
 * @param {{ session_id?: string, etag?: string, body?: unknown }} [request]
 * @returns {Promise<{ json: any, etag?: string }>}
 */
export async function send(access, method, route, { session_id, etag, body } = {}) {
    checkAccess(access);
    const headers = { Accept: 'application/json' };
    if (access.auth) headers.Authorization = `Bearer ${access.auth}`;
    if (access.admin_key) headers['X-Admin-Key'] = access.admin_key;
    if (etag) headers['If-Match'] = etag;
    if (session_id !== undefined) {
        if (!VISIBLE.test(session_id)) throw new NotFoundError('no such session: no id looks like this one');
        headers['X-Session-Id'] = session_id;
    }
    const options = { method, headers, cache: 'no-store', redirect: 'error' };
    if (access.credentials) options.credentials = access.credentials;
    if (body !== undefined) {
        headers['Content-Type'] = 'application/json';
        options.body = JSON.stringify(body);
    }
    const { response, text } = await exchange(access, route, options);
    const json = parsed(text);
    if (!response.ok) throw fromAnswer(response.status, json, response.headers.get('Retry-After'));
    if (json === undefined) {
        throw new SessmanError('the answer is no JSON; is base_url the mount of sessman?', response.status);
    }
    // A proxy that compresses weakens the tag, and a weak one is never matched; the version in it is the right one.
    return { json, etag: response.headers.get('ETag')?.replace(/^W\//, '') };
}

async function exchange(access, route, options) {
    const timeout = access.timeout ?? TIMEOUT;
    try {
        const signal = AbortSignal.timeout(timeout);
        // A redirect would carry the id and the keys to somebody else.
        const response = await fetch(address(access.base_url, route), { ...options, signal });
        return { response, text: await response.text() };
    } catch (cause) {
        const reason = cause.name === 'TimeoutError' ? `no answer within ${timeout} ms` : 'it cannot be reached';
        throw new UnavailableError(`${located(access.base_url).origin}: ${reason}`, undefined, { cause });
    }
}

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}
