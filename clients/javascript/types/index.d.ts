/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface SessionOptions<Data = any> {
    /** The service's mount; `http://localhost:6123/sessman` unless given. In a page it may be a path. */
    base_url?: string;
    /** The service's key. Whoever has it can do everything: it is for back ends, not for pages. */
    auth?: string | null;
    /** What the session begins with; `{}` unless given. */
    data?: Data;
    /** What is known of the client, such as `client_ip`, and of the device. */
    metadata?: { [name: string]: Json };
    /** How long it lives from each use; as the service has it unless given. */
    ttl_seconds?: number;
    /** Whether cookies go along, as `fetch` has it: `include` for a page of another origin. */
    credentials?: RequestCredentials;
    /** Milliseconds until a request is given up; 10,000 unless given. */
    timeout?: number;
}

/**
 * A session: its data is `session.data`, which `updateSession` sends to the service. Every method that asks the service
 * throws a `SessmanError` when it does not get what it asked for.
 */
export class Session<Data = any> {
    /** Nothing is sent yet: see `create` and `load`. */
    constructor(user?: string | number | bigint | null, options?: SessionOptions<Data>);

    /** Begins a session of `user`; of nobody yet, if there is none. */
    static create<Data = any>(user?: string | number | bigint | null, options?: SessionOptions<Data>): Promise<Session<Data>>;

    /** The session with this id; without one, the one whose cookie the browser sends. */
    static load<Data = any>(session_id?: string | null, options?: SessionOptions<Data>): Promise<Session<Data>>;

    /** Not listed when the session is printed: it may hold the key. */
    options: SessionOptions<Data>;
    base_url: string;
    /** Whose session it is; `null` for a visitor who has not logged in. */
    user: string | null;
    data: Data;

    /** The key to the session, not listed either; `undefined` before it begins, after its end, and where it is a cookie. */
    get session_id(): string | undefined;
    set session_id(session_id: string | null | undefined);

    /** Its public name. This and what follows is there once the service has told it; times are RFC 3339 in UTC. */
    handle?: string;
    metadata?: { [name: string]: Json };
    /** When its user logged in. */
    auth_time?: string | null;
    created_at?: string;
    updated_at?: string;
    last_activity?: string;
    expires_at?: string;
    /** Grows by one with each change. */
    version?: number;

    /** Begins the session, with the data that it has by now. */
    createSession(): Promise<this>;

    /** Reads it anew; what was changed here and not sent is given up. */
    load(): Promise<this>;

    /**
     * Sends `data`, which replaces what the service has. Throws a `ConflictError` if somebody else has changed the
     * session since it was read here; with `force` that change is lost.
     */
    updateSession(options?: { force?: boolean }): Promise<this>;

    /**
     * Merges into the data (JSON Merge Patch, RFC 7396): members that are named are set, `null` removes one. Changes that
     * others make at the same time to other members are kept.
     */
    patch(changes: Json): Promise<this>;

    /**
     * Makes a change that depends on what is there. `edit` gets the data, and changes it or returns other data; it is
     * called again, with newer data, as long as somebody else is faster, 50 times unless `attempts` says otherwise.
     */
    change(edit: (data: Data) => Data | void | Promise<Data | void>, options?: { attempts?: number }): Promise<this>;

    /** Lets its time to live begin again. */
    touch(): Promise<this>;

    /** Gives it another id; the old one is dead at once. With `user` an anonymous visitor logs in. */
    rotate(user?: string | number | bigint): Promise<this>;

    /** Whether it lives. */
    validate(): Promise<boolean>;

    /** Ends it, for good. */
    end(): Promise<void>;

    /** The address of a route, with a query made of `parameters`, among which no id may be. */
    get_command_url(command: string, parameters?: Record<string, string> | null): string;

    /** Calls a route by its name, such as `get`, and gives what it answers. */
    get_data(command: string, parameters?: { [name: string]: Json } | null, data?: Json): Promise<any>;
}

/** The service did not do what it was asked. */
export class SessmanError extends Error {
    constructor(message: string, status?: number, options?: ErrorOptions);
    /** Of the answer; `undefined` where there was none. */
    status?: number;
}

/** No live session has that id: unknown, ended, expired and another user's look the same. */
export class NotFoundError extends SessmanError {}

/** Somebody else was faster: the session has changed, or may not be had twice. */
export class ConflictError extends SessmanError {}

/** The key is missing or wrong, or there is no session id at all. */
export class UnauthorizedError extends SessmanError {}

/** Not to be had with any key: a page of another origin, a route that nobody may use. */
export class ForbiddenError extends SessmanError {}

/** The service does not take what was sent. */
export class ValidationError extends SessmanError {}

/** Sessions begin too fast. */
export class RateLimitError extends SessmanError {
    /** Seconds after which to try again, as far as the service says. */
    retryAfter?: number;
}

/** The service, or the store behind it, cannot be reached; whether a change was made is unknown. */
export class UnavailableError extends SessmanError {
    /** Seconds after which to try again, as far as the service says. */
    retryAfter?: number;
}

/** The service failed. */
export class ServerError extends SessmanError {}
