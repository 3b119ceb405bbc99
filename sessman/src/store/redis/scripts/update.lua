-- Changes a live record: until when it would have lived, and behind that the record as it is then; or its version, in a list,
-- if it was written to; or 0.
-- ARGV: now, the mark, the secret's hash, version with terms and tail, last activity ('' for any), the three times, for how
--       many milliseconds the server keeps it, and, '' for what stays: a new secret's hash, the moment of a change that
--       counts, user, data, metadata, '=' and the tail, terms
local old = redis.call('GET', KEYS[1])
if not old then
    return 0
end
-- Not by a function: this is the script that runs most, and to make one each time costs a tenth of it.
local layout = string.byte(old)
if not (layout == 1 and #old >= HEAD_1 or layout == 2 and #old >= HEAD_2) then
    return redis.error_reply('SESSMAN_LAYOUT not a record of a layout that is known')
end
local mark, secret_hash, times, kept, now = ARGV[2], ARGV[3], ARGV[6], ARGV[7], ARGV[9]
if struct.unpack('>i8', old, EXPIRES_AT + 1) <= tonumber(ARGV[1]) or string.sub(old, MARK + 1, SECRET_HASH) ~= mark
    or string.sub(old, SECRET_HASH + 1, VERSION) ~= secret_hash then
    return 0
end
local version = string.sub(old, VERSION + 1, CREATED_AT)
local user_length, metadata_length = struct.unpack('>I4I4', old, USER_LENGTH + 1)
local texts, tail_length = HEAD_1, 0
if layout == 2 then
    texts, tail_length = HEAD_2, struct.unpack('>I4', old, TAIL_LENGTH + 1)
end
local user_end = texts + user_length
local metadata_end = user_end + metadata_length
local old_tail = string.sub(old, metadata_end + 1, metadata_end + tail_length)
local old_flags = string.byte(old, FLAGS + 1)
if (ARGV[4] ~= '' and ARGV[4] ~= version .. string.char(bit.band(old_flags, HAS_OWN_TTL + HAS_CONFIGURED_TTL))
        .. string.sub(old, TTL + 1, RESET_AT) .. old_tail)
    or (ARGV[5] ~= '' and string.sub(old, LAST_ACTIVITY + 1, EXPIRES_AT) ~= ARGV[5]) then
    return { version }
end
local lived_until = string.sub(old, EXPIRES_AT + 1, AUTH_TIME)
if ARGV[8] ~= '' then
    secret_hash = ARGV[8]
end
local user, data, metadata, tail, terms = ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
if now == '' and tail == '' then
    -- In place: a replica gets a few bytes.
    if ARGV[8] ~= '' then
        redis.call('SETRANGE', KEYS[1], SECRET_HASH, secret_hash)
    end
    redis.call('SETRANGE', KEYS[1], RESET_AT, times)
    redis.call('PEXPIRE', KEYS[1], kept)
    return lived_until .. string.sub(old, 1, SECRET_HASH) .. secret_hash .. string.sub(old, VERSION + 1, RESET_AT) .. times
        .. string.sub(old, AUTH_TIME + 1)
end
local flags, ttl, auth_time = old_flags, string.sub(old, TTL + 1, RESET_AT), now
if user == '' then
    user, auth_time = string.sub(old, texts + 1, user_end), string.sub(old, AUTH_TIME + 1, USER_LENGTH)
else
    flags = bit.bor(flags, HAS_USER + HAS_AUTH_TIME)
end
if terms ~= '' then
    flags = bit.bor(bit.band(flags, HAS_USER + HAS_AUTH_TIME), string.byte(terms))
    ttl = string.sub(terms, 2)
end
if data == '' then
    data = string.sub(old, metadata_end + tail_length + 1)
end
if metadata == '' then
    metadata = string.sub(old, user_end + 1, metadata_end)
end
if tail == '' then
    tail = old_tail
else
    tail = string.sub(tail, 2)
end
if now == '' then
    now = string.sub(old, UPDATED_AT + 1, TTL)
else
    -- In two halves: Lua's numbers are floats, which do not hold every integer of 64 bits.
    local high, low = struct.unpack('>I4I4', version)
    low = low + 1
    if low == 4294967296 then
        high, low = high + 1, 0
    end
    version = struct.pack('>I4I4', high, low)
end
local lengths
-- The version before knows layout 1 alone.
if tail == '' then
    layout, lengths = '\1', struct.pack('>I4I4', #user, #metadata)
else
    layout, lengths = '\2', struct.pack('>I4I4I4', #user, #metadata, #tail)
end
local record = layout .. string.char(flags) .. mark .. secret_hash .. version .. string.sub(old, CREATED_AT + 1, UPDATED_AT)
    .. now .. ttl .. times .. auth_time .. lengths .. user .. metadata .. tail .. data
redis.call('SET', KEYS[1], record, 'PX', kept)
return lived_until .. record
