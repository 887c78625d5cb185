"""The Lua scripts of a worker's presence; the keys are those of `hive.store.scripts`."""

from hive.store.scripts import DAY_S

# What a worker's time costs is counted as it passes: a budget sees the job that still runs, and the worker that idles.
_THERE = """
local function count_time(worker, usd)
  if usd == '' then return end
  local day = math.floor(redis.call('TIME')[1] / DAY_S)
  redis.call('HINCRBYFLOAT', 'hive:spent', 'there ' .. day, usd)
  redis.call('HINCRBYFLOAT', 'hive:shares', 'there ' .. day .. ' ' .. worker, usd)
end
""".replace("DAY_S", str(DAY_S))

# KEYS: report, workers. ARGV: report, how long it is good [ms], worker, what its time since its last report cost [US$]
# or '', for how long [s] a worker is there after its last report at most. Returns how many there are. Timed by Redis: a
# worker's clock may be wrong.
REPORT = (
    _THERE
    + """
local time = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], time[1] + time[2] / 1000000, ARGV[3])
count_time(ARGV[3], ARGV[4])
return redis.call('ZCOUNT', KEYS[2], time[1] - ARGV[5], '+inf')
"""
)

# KEYS: report, workers. ARGV: worker, what its time since its last report cost [US$] or ''.
LEAVE = (
    _THERE
    + """
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
count_time(ARGV[1], ARGV[2])
"""
)

# ARGV: worker, the day on which its machine began to be paid, what the time until its start cost [US$]. Kept once,
# however often the worker starts.
BOOT = """
local name = 'boot ' .. ARGV[2] .. ' ' .. ARGV[1]
if redis.call('HEXISTS', 'hive:shares', name) == 1 then return 0 end
redis.call('HSET', 'hive:shares', name, ARGV[3])
redis.call('HINCRBYFLOAT', 'hive:spent', 'there ' .. ARGV[2], ARGV[3])
return 1
"""
