-- Changes a live record: the record as it is then; or its version, in a list, if it was written to; or 0.
-- ARGV: now, the secret's hash, version, last activity ('' for any), the three times, when the server may remove it,
--       and, '' for what stays: a new secret's hash, the moment of a change that counts, user, data, metadata;
--       the mark that the record must have ('' for any)
local old = redis.call('GET', KEYS[1])
if not old then
    return 0
end
if #old < 114 or string.byte(old) ~= 1 then
    return redis.error_reply('SESSMAN_LAYOUT not a record of this layout')
end
if struct.unpack('>i8', old, 91) <= tonumber(ARGV[1]) or string.sub(old, 11, 42) ~= ARGV[2]
    or (ARGV[12] ~= '' and string.sub(old, 3, 10) ~= ARGV[12]) then
    return 0
end
local version = string.sub(old, 43, 50)
if (ARGV[3] ~= '' and version ~= ARGV[3]) or (ARGV[4] ~= '' and string.sub(old, 83, 90) ~= ARGV[4]) then
    return { version }
end
local secret_hash = ARGV[2]
if ARGV[7] ~= '' then
    secret_hash = ARGV[7]
end
if ARGV[8] == '' then
    -- In place: a replica gets a few bytes.
    if ARGV[7] ~= '' then
        redis.call('SETRANGE', KEYS[1], 10, secret_hash)
    end
    redis.call('SETRANGE', KEYS[1], 74, ARGV[5])
    redis.call('PEXPIREAT', KEYS[1], ARGV[6])
    return string.sub(old, 1, 10) .. secret_hash .. string.sub(old, 43, 74) .. ARGV[5] .. string.sub(old, 99)
end
local user_length, metadata_length = struct.unpack('>I4I4', old, 107)
local metadata_end = 114 + user_length + metadata_length
local user, data, metadata = ARGV[9], ARGV[10], ARGV[11]
local flags, auth_time = string.char(3), ARGV[8]
if user == '' then
    user, flags, auth_time = string.sub(old, 115, 114 + user_length), string.sub(old, 2, 2), string.sub(old, 99, 106)
end
if data == '' then
    data = string.sub(old, metadata_end + 1)
end
if metadata == '' then
    metadata = string.sub(old, 115 + user_length, metadata_end)
end
-- In two halves: Lua's numbers are floats, which do not hold every integer of 64 bits.
local high, low = struct.unpack('>I4I4', version)
low = low + 1
if low == 4294967296 then
    high, low = high + 1, 0
end
local record = string.sub(old, 1, 1) .. flags .. string.sub(old, 3, 10) .. secret_hash
    .. struct.pack('>I4I4', high, low) .. string.sub(old, 51, 58) .. ARGV[8] .. string.sub(old, 67, 74) .. ARGV[5]
    .. auth_time .. struct.pack('>I4I4', #user, #metadata) .. user .. metadata .. data
redis.call('SET', KEYS[1], record, 'PXAT', ARGV[6])
return record
