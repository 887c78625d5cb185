-- KEYS: index of deliveries. ARGV: visibility timeout [s], most. Returns the tags of deliveries that nobody has renewed
-- for so long; none while Redis itself has only just come back.
-- include _pulse

local time = redis.call('TIME')
local seconds = time[1] + time[2] / 1000000
if is_away(seconds * 1000) then return {} end
return redis.call('ZRANGEBYSCORE', KEYS[1], 0, seconds - ARGV[1], 'LIMIT', 0, ARGV[2])
