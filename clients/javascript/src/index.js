// Sessions of the sessman service: `Session` is one of them, the rest is what may go wrong.
export {
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ServerError,
    SessmanError,
    UnauthorizedError,
    UnavailableError,
    ValidationError,
} from './errors.js';
export { Session } from './session.js';
