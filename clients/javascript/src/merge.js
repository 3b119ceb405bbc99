/**
 * What was changed from `base` to `mine`, as a JSON Merge Patch (RFC 7396); `undefined` if that cannot say it, as `null`
 * removes a member there.
 */
export function difference(base, mine) {
    const names = [...new Set([...Object.keys(base), ...Object.keys(mine)])];
    const changed = names.filter((name) => !isEqual(own(base, name), own(mine, name)));
    const changes = changed.map((name) => [name, change(own(base, name), own(mine, name))]);
    return changes.some(([, value]) => value === undefined) ? undefined : Object.fromEntries(changes);
}

function change(from, to) {
    if (to === undefined) return null;
    if (isObject(to)) return difference(isObject(from) ? from : {}, to);
    return to ?? undefined;
}

/**
 * What `theirs` becomes when what was changed from `base` to `mine` is changed in it, too: objects member by member,
 * anything else as a whole. Where both changed the same, `mine` counts.
 */
export function merged(base, mine, theirs) {
    if (!isObject(mine) || !isObject(theirs)) return isEqual(base, mine) ? theirs : mine;
    const names = new Set([...Object.keys(theirs), ...Object.keys(mine)]);
    const members = [...names].map((name) => [name, merged(own(base, name), own(mine, name), own(theirs, name))]);
    // JSON has no undefined: here it is what is not there.
    return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

export function isObject(value) {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Not what an object inherits: a member may be called `constructor`. */
function own(value, name) {
    return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

function isEqual(one, other) {
    return JSON.stringify(one) === JSON.stringify(other);
}
