-- Redis' own clock [ms since 1970]; a worker's clock may be wrong.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
