// A class for each kind of failure. What a message says comes from the service, which names no id and no key.

/** The service did not do what it was asked. */
export class SessmanError extends Error {
    /**
     * @param {string} message one line for people
     * @param {number} [status] of the answer; none where there was none
     * @param {ErrorOptions} [options]
     */
    constructor(message, status, options) {
        super(message, options);
        this.name = new.target.name;
        this.status = status;
    }
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

class RetryableError extends SessmanError {
    /**
     * @param {string} message
     * @param {number} [status]
     * @param {ErrorOptions & { retryAfter?: number }} [options]
     */
    constructor(message, status, options) {
        super(message, status, options);
        /** Seconds after which to try again, as far as the service says. */
        this.retryAfter = options?.retryAfter;
    }
}

/** Sessions begin too fast. */
export class RateLimitError extends RetryableError {}

/** The service, or the store behind it, cannot be reached; whether a change was made is unknown. */
export class UnavailableError extends RetryableError {}

/** The service failed. */
export class ServerError extends SessmanError {}

const KINDS = new Map([
    [400, ValidationError],
    [401, UnauthorizedError],
    [403, ForbiddenError],
    [404, NotFoundError],
    [405, ValidationError],
    [409, ConflictError],
    [412, ConflictError],
    [413, ValidationError],
    [422, ValidationError],
    [428, ValidationError],
    [429, RateLimitError],
    [502, UnavailableError],
    [503, UnavailableError],
    [504, UnavailableError],
]);

/** The error that an answer with this status and problem body is. */
export function fromAnswer(status, problem, retryAfter) {
    const Kind = KINDS.get(status) ?? (status >= 500 ? ServerError : SessmanError);
    const seconds = Number.parseInt(retryAfter, 10);
    const message = typeof problem?.error === 'string' ? problem.error : `the service answered ${status}`;
    return new Kind(message, status, { retryAfter: Number.isNaN(seconds) ? undefined : seconds });
}
