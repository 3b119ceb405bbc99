import { address, BASE_URL, checkAccess, send } from './client.js';
import { retryConflicts } from './retry.js';
import { userText } from './user.js';

/** Names under which the service takes an id, which has a header of its own. */
const ID_NAMES = ['session_id', 'sessionid', 'token'];

/** What the service tells of a session besides its id, user and data. */
const TOLD = ['handle', 'metadata', 'auth_time', 'created_at', 'updated_at', 'last_activity', 'expires_at', 'version'];

/**
 * A session: its data is `session.data`, which `updateSession` sends to the service. Every method that asks the
 * service throws a `SessmanError` when it does not get what it asked for.
 */
export class Session {
    /** @type {string | undefined} */
    #session_id;
    /** The tag of the version that was read last. */
    #etag;
    /** The data of that version, as text: whoever holds `data` may change it. */
    #read = '{}';

    /**
     * Nothing is sent yet: see `create` and `load`.
     *
     * @param {string | number | bigint | null} [user]
     * @param {object} [options]
     */
    constructor(user, options) {
        const given = { base_url: BASE_URL, auth: null, data: {}, ...options };
        checkAccess(given);
        // Not to be listed: whoever prints the session must not print the key.
        Object.defineProperty(this, 'options', { value: given, writable: true });
        this.base_url = given.base_url;
        this.user = userText(user) ?? null;
        this.data = given.data;
    }

    /** Begins a session of `user`; of nobody yet, if there is none. */
    static async create(user, options) {
        const session = new this(user, options);
        await session.createSession();
        return session;
    }

    /** The session with this id; without one, the one whose cookie the browser sends. */
    static async load(session_id, options) {
        const session = new this(null, options);
        session.session_id = session_id;
        return session.load();
    }

    /** The key to the session. Whoever has it is the session, so that it is not listed, either. */
    get session_id() {
        return this.#session_id;
    }

    set session_id(session_id) {
        this.#session_id = session_id ?? undefined;
        this.#etag = undefined;
    }

    /** Begins the session, with the data that it has by now. */
    async createSession() {
        const { metadata, ttl_seconds } = this.options;
        const body = { user_id: userText(this.user), data: this.data, metadata, ttl_seconds };
        return this.#take(await this.#send('POST', 'new', { session_id: undefined, body }));
    }

    /** Reads it anew; what was changed here and not sent is given up. */
    async load() {
        return this.#take(await this.#send('GET', 'get'));
    }

    /**
     * Sends `data`, which replaces what the service has. Throws a `ConflictError` if somebody else has changed the
     * session since it was read here; with `force` that change is lost.
     */
    async updateSession({ force = false } = {}) {
        const etag = force ? '*' : this.#etag;
        return this.#take(await this.#send('POST', 'update', { etag, body: { data: this.data, mode: 'replace' } }));
    }

    /**
     * Merges into the data (JSON Merge Patch, RFC 7396): members that are named are set, `null` removes one. Changes that
     * others make at the same time to other members are kept.
     */
    async patch(changes) {
        return this.#take(await this.#send('PATCH', 'update', { body: changes }));
    }

    /**
     * Makes a change that depends on what is there, such as adding one to a number. `edit` gets the data, and changes it
     * or returns other data; it is called again, with newer data, as long as somebody else is faster. What was changed in
     * `data` and not sent is given up.
     */
    async change(edit, { attempts = 50 } = {}) {
        return retryConflicts(attempts, async (attempt) => {
            if (attempt > 0 || !this.#etag) await this.load();
            const data = JSON.parse(this.#read);
            this.data = (await edit(data)) ?? data;
            return this.updateSession();
        });
    }

    /** Lets its time to live begin again. */
    async touch() {
        const answer = await this.#send('POST', 'touch');
        // The data here may have changes that were not sent.
        this.#tell(answer.json);
        return this;
    }

    /** Gives it another id; the old one is dead at once. With `user` an anonymous visitor logs in. */
    async rotate(user) {
        return this.#take(await this.#send('POST', 'rotate', { body: { user_id: userText(user) } }));
    }

    /** Whether it lives. */
    async validate() {
        const { json } = await this.#send('GET', 'validate');
        return json.valid;
    }

    /** Ends it, for good. */
    async end() {
        await this.#send('POST', 'end');
        this.session_id = undefined;
    }

    /** The address of a route, with a query made of `parameters`. */
    get_command_url(command, parameters = {}) {
        if (Object.keys(parameters ?? {}).some((name) => ID_NAMES.includes(name) || name === 'apikey')) {
            throw new TypeError('ids and keys go into headers, never into a URL; get_data does it');
        }
        const query = new URLSearchParams(parameters ?? {}).toString();
        return address(this.base_url, query ? `${command}?${query}` : command);
    }

    /** Calls a route by its name, such as `get`, and gives what it answers. */
    async get_data(command, parameters = {}, data = undefined) {
        const entries = Object.entries(parameters ?? {});
        const id = entries.find(([name]) => ID_NAMES.includes(name));
        const body = Object.fromEntries(entries.filter(([name]) => !ID_NAMES.includes(name)));
        if (data !== undefined) body.data = data;
        const { json } = await send(this.#access(), 'POST', command, { session_id: id?.[1], body });
        return json;
    }

    #access() {
        return { ...this.options, base_url: this.base_url };
    }

    #send(method, route, request) {
        return send(this.#access(), method, route, { session_id: this.#session_id, ...request });
    }

    /** Takes over what the service answers with. */
    #take({ json, etag }) {
        // In an answer to the cookie there is no id.
        if (json.session_id) this.#session_id = json.session_id;
        this.#etag = etag;
        this.#read = JSON.stringify(json.data);
        this.data = json.data;
        this.#tell(json);
        return this;
    }

    #tell(json) {
        this.user = json.user_id;
        for (const name of TOLD) this[name] = json[name];
    }
}
