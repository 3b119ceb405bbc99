-- Deletes a record: its mark, its user and its tail, in a list; or 0 if it is not there, or not as the conditions say. One that
-- cannot be read is deleted without conditions alone, and all are empty.
-- ARGV, each '' for any: mark, secret's hash, last activity, now, at which its time must be over, version
local head = redis.call('GETRANGE', KEYS[1], 0, HEAD_2 - 1)
if #head == 0 then
    return 0
end
local texts, tail_length = texts_of(head)
if not texts then
    if ARGV[1] ~= '' or ARGV[2] ~= '' or ARGV[3] ~= '' or ARGV[4] ~= '' or ARGV[5] ~= '' then
        return unknown_layout()
    end
    redis.call('DEL', KEYS[1])
    return { '', '', '' }
end
local mark = string.sub(head, MARK + 1, SECRET_HASH)
if (ARGV[1] ~= '' and mark ~= ARGV[1])
    or (ARGV[2] ~= '' and string.sub(head, SECRET_HASH + 1, VERSION) ~= ARGV[2])
    or (ARGV[3] ~= '' and string.sub(head, LAST_ACTIVITY + 1, EXPIRES_AT) ~= ARGV[3])
    or (ARGV[4] ~= '' and struct.unpack('>i8', head, EXPIRES_AT + 1) > tonumber(ARGV[4]))
    or (ARGV[5] ~= '' and string.sub(head, VERSION + 1, CREATED_AT) ~= ARGV[5]) then
    return 0
end
local user, tail = '', ''
local user_length, metadata_length = struct.unpack('>I4I4', head, USER_LENGTH + 1)
if user_length > 0 then
    user = redis.call('GETRANGE', KEYS[1], texts, texts + user_length - 1)
end
if tail_length > 0 then
    local begin = texts + user_length + metadata_length
    tail = redis.call('GETRANGE', KEYS[1], begin, begin + tail_length - 1)
end
redis.call('DEL', KEYS[1])
return { mark, user, tail }
