-- What a worker's time costs is counted as it passes: a budget sees the job that still runs, and the worker that idles.
local function count_time(worker, usd)
  if usd == '' then return end
  local day = math.floor(redis.call('TIME')[1] * 1000 / DAY_MS)
  redis.call('HINCRBYFLOAT', key.spent, 'there ' .. day, usd)
  redis.call('HINCRBYFLOAT', key.shares, 'there ' .. day .. ' ' .. worker, usd)
end
