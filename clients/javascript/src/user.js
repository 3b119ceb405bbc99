/** A user as the service knows it: a text, of a whole number its digits; undefined for nobody. */
export function userText(user) {
    if (user === null || user === undefined) return undefined;
    if (typeof user === 'string') return user;
    if (typeof user === 'bigint' || Number.isSafeInteger(user)) return String(user);
    throw new TypeError('user: expected a text or a whole number');
}
