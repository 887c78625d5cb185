-- include _time

-- Workers renew their leases four times per lease. Where nobody was heard for half a lease, it was Redis (or the
-- laptop under it) that was away: everybody gets one lease of time to come back before anything counts as lost.
local function pulse(ms, lease)
  local last = tonumber(redis.call('GET', key.pulse) or ms)
  if ms - last > lease / 2 then redis.call('SET', key.away_until, ms + lease) end
  redis.call('SET', key.pulse, ms)
end

local function is_away(ms)
  return ms < tonumber(redis.call('GET', key.away_until) or 0)
end
