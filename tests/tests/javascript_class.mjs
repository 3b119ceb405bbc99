// Sends what the JavaScript class of the original host sends: everything by POST, user and session_id in the query,
// the data in a JSON body that calls itself text/javascript. Arguments: base URL, API key (optional).
import assert from 'node:assert/strict';

const [base, key] = process.argv.slice(2);

async function send(command, parameters, data) {
    const query = Object.entries(parameters).map(([name, value]) => `${name}=${value}`).join('&');
    const headers = { 'Content-type': 'text/javascript' };
    if (key) headers.Authorization = `Bearer ${key}`;
    const body = data === undefined ? '' : JSON.stringify({ data });
    const response = await fetch(`${base}/${command}?${query}`, { method: 'POST', headers, body });
    return { status: response.status, json: JSON.parse(await response.text()) };
}

const created = await send('new', { user: 'someone' }, { theme: 'dark' });
assert.ok(created.status >= 200 && created.status < 300, JSON.stringify(created));
assert.equal(typeof created.json.session_id, 'string');
assert.deepEqual(created.json.data, { theme: 'dark' });

const updated = await send('update', { session_id: created.json.session_id }, { theme: 'light', n: 1 });
assert.equal(updated.status, 200, JSON.stringify(updated));
assert.deepEqual(updated.json.data, { theme: 'light', n: 1 });

const read = await send('get', { sessionid: created.json.session_id, userid: 'someone' });
assert.deepEqual(read.json.data, { theme: 'light', n: 1 });

const empty = await send('new', { user: 'someone' }, {});
assert.deepEqual(empty.json.data, {});
console.log('ok');
