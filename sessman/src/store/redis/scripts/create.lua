-- Stores a record unless a live one is there: 1 if it did, else 0.
-- ARGV: now, the record, when the server may remove it
local head = redis.call('GETRANGE', KEYS[1], 0, 113)
if #head > 0 then
    if #head < 114 or string.byte(head) ~= 1 then
        return redis.error_reply('SESSMAN_LAYOUT not a record of this layout')
    end
    if struct.unpack('>i8', head, 91) > tonumber(ARGV[1]) then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1
