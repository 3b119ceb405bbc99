-- Deletes a record that is past its time: 1 if it did, else 0.
-- ARGV: now
local head = redis.call('GETRANGE', KEYS[1], 0, 113)
if #head < 114 or string.byte(head) ~= 1 or struct.unpack('>i8', head, 91) > tonumber(ARGV[1]) then
    return 0
end
return redis.call('DEL', KEYS[1])
