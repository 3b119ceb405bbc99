-- Deletes a record: its mark and its user, in a list; or 0 if it is not there, opens with another secret or is not past
-- its time.
-- ARGV: the secret's hash ('' for any), now ('' whatever its time is)
local head = redis.call('GETRANGE', KEYS[1], 0, 113)
if #head == 0 or (ARGV[1] ~= '' and string.sub(head, 11, 42) ~= ARGV[1]) then
    return 0
end
if #head < 114 or string.byte(head) ~= 1 then
    return redis.error_reply('SESSMAN_LAYOUT not a record of this layout')
end
if ARGV[2] ~= '' and struct.unpack('>i8', head, 91) > tonumber(ARGV[2]) then
    return 0
end
local user = ''
local user_length = struct.unpack('>I4', head, 107)
if user_length > 0 then
    user = redis.call('GETRANGE', KEYS[1], 114, 113 + user_length)
end
redis.call('DEL', KEYS[1])
return { string.sub(head, 3, 10), user }
