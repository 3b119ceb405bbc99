-- Where the texts of a record begin, and how long its tail is, from its head; nothing for a layout that is not known.
local function texts_of(head)
    local layout = string.byte(head)
    if layout == 1 and #head >= HEAD_1 then
        return HEAD_1, 0
    end
    if layout == 2 and #head >= HEAD_2 then
        return HEAD_2, (struct.unpack('>I4', head, TAIL_LENGTH + 1))
    end
end

local function unknown_layout()
    return redis.error_reply('SESSMAN_LAYOUT not a record of a layout that is known')
end

