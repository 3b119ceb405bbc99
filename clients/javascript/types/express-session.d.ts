import type { Request } from 'express';
import { type Session, type SessionData, Store } from 'express-session';
import type { Json } from './index.js';

export interface SessmanStoreOptions {
    /** The service's mount; `http://localhost:6123/sessman` unless given. */
    base_url?: string;
    /** The service's key. */
    auth?: string | null;
    /** The key for administrators, which `all`, `length` and `clear` need. */
    admin_key?: string;
    /** Milliseconds until a request is given up; 10,000 unless given. */
    timeout?: number;
    /** Whose session it is, so that the service can list and end sessions by user; unless given, it is told of nobody. */
    user?: (session: SessionData) => string | number | bigint | null | undefined;
}

/** What can be told of a session without its id: no data. */
export interface SessionSummary extends SessionData {
    handle: string;
    user_id: string | null;
    auth_time: string | null;
    metadata: { [name: string]: Json };
    created_at: string;
    updated_at: string;
    last_activity: string;
    expires_at: string;
    version: number;
}

/**
 * A store for `express-session`. The id that `express-session` makes is the session's `external_id`, so that it is kept
 * nowhere but in the visitor's cookie. Every method takes a callback, or is waited for as a promise.
 */
export class SessmanStore extends Store {
    constructor(options?: SessmanStoreOptions);

    /** The session with this id, `undefined` if none lives. */
    get(
        sid: string,
        callback?: (error: any, session?: SessionData | null) => void,
    ): Promise<SessionData | undefined>;

    /**
     * Writes a session. What other requests changed meanwhile stays, where this one left it alone; one that was ended
     * meanwhile stays ended, which is an error.
     */
    set(sid: string, session: SessionData, callback?: (error?: any) => void): Promise<void>;

    /** Lets a session's time to live begin again. */
    touch(sid: string, session: SessionData, callback?: (error?: any) => void): Promise<void>;

    /** Ends a session. */
    destroy(sid: string, callback?: (error?: any) => void): Promise<void>;

    /** Every session of the service's instance, without data; needs `admin_key`. */
    all(callback?: (error: any, sessions?: SessionSummary[]) => void): Promise<SessionSummary[]>;

    /** How many live; needs `admin_key`. */
    length(callback?: (error: any, length?: number) => void): Promise<number>;

    /** Ends every session of the service's instance; needs `admin_key`. */
    clear(callback?: (error?: any) => void): Promise<void>;

    createSession(request: Request, saved: SessionData): Session & SessionData;
}
