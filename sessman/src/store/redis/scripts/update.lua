-- Changes a live record: the record as it is then; or its version, in a list, if it was written to; or 0.
-- ARGV: now, the secret's hash, version, last activity ('' for any), the three times, when the server may remove it,
--       and, '' for what stays: a new secret's hash, the moment of a change that counts, user, data, metadata;
--       the mark that the record must have ('' for any)
local head = redis.call('GETRANGE', KEYS[1], 0, 113)
if #head == 0 then
    return 0
end
if #head < 114 or string.byte(head) ~= 1 then
    return redis.error_reply('SESSMAN_LAYOUT not a record of this layout')
end
if struct.unpack('>i8', head, 91) <= tonumber(ARGV[1]) or string.sub(head, 11, 42) ~= ARGV[2]
    or (ARGV[12] ~= '' and string.sub(head, 3, 10) ~= ARGV[12]) then
    return 0
end
local version = string.sub(head, 43, 50)
if (ARGV[3] ~= '' and version ~= ARGV[3]) or (ARGV[4] ~= '' and string.sub(head, 83, 90) ~= ARGV[4]) then
    return { version }
end
local record
if ARGV[8] == '' then
    -- In place: what is not named is not even read, and a replica gets a few bytes.
    if ARGV[7] ~= '' then
        redis.call('SETRANGE', KEYS[1], 10, ARGV[7])
    end
    redis.call('SETRANGE', KEYS[1], 74, ARGV[5])
    record = redis.call('GET', KEYS[1])
else
    local old = redis.call('GET', KEYS[1])
    local user_length, metadata_length = struct.unpack('>I4I4', head, 107)
    local user = string.sub(old, 115, 114 + user_length)
    local metadata = string.sub(old, 115 + user_length, 114 + user_length + metadata_length)
    local data = string.sub(old, 115 + user_length + metadata_length)
    local flags, auth_time = string.sub(head, 2, 2), string.sub(head, 99, 106)
    if ARGV[9] ~= '' then
        user, flags, auth_time = ARGV[9], string.char(3), ARGV[8]
    end
    if ARGV[10] ~= '' then
        data = ARGV[10]
    end
    if ARGV[11] ~= '' then
        metadata = ARGV[11]
    end
    local secret_hash = ARGV[2]
    if ARGV[7] ~= '' then
        secret_hash = ARGV[7]
    end
    -- In two halves: Lua's numbers are floats, which do not hold every integer of 64 bits.
    local high, low = struct.unpack('>I4I4', version)
    low = low + 1
    if low == 4294967296 then
        high, low = high + 1, 0
    end
    record = table.concat({
        string.sub(head, 1, 1), flags, string.sub(head, 3, 10), secret_hash, struct.pack('>I4I4', high, low),
        string.sub(head, 51, 58), ARGV[8], string.sub(head, 67, 74), ARGV[5], auth_time,
        struct.pack('>I4I4', #user, #metadata), user, metadata, data,
    })
    redis.call('SET', KEYS[1], record)
end
redis.call('PEXPIREAT', KEYS[1], ARGV[6])
return record
