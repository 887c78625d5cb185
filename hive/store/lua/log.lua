-- KEYS: job. ARGV: attempt, where this part of its log starts and ends, progress or '', most lines, and for each line
-- its time [ms], level, text, and for how many others it stands that are left out, or 0. A part that does not start
-- where the attempt's log ends is not kept; returns where it ends then, and '' where all is well. A log that has become
-- too long, or too heavy with 1 KiB for each line, loses its oldest lines.
-- include _job

local job, attempt, most, log = KEYS[1], ARGV[1], tonumber(ARGV[5]), KEYS[1] .. key.log
if redis.call('EXISTS', job) == 0 then return '' end
local at = redis.call('HGET', job, 'log_at_' .. attempt) or '0 0 0'
if at ~= ARGV[2] then return at end
redis.call('HSET', job, 'log_at_' .. attempt, ARGV[3])
if ARGV[4] ~= '' and is_newest(job, attempt) then
  redis.call('HSET', job, 'progress', ARGV[4])
  redis.call('PUBLISH', job, 'progress')
end
if #ARGV == 5 then return '' end
local new = 0
for n = 6, #ARGV, 4 do
  local entry = {'ms', ARGV[n], 'level', ARGV[n + 1], 'attempt', attempt, 'text', ARGV[n + 2], 'for', ARGV[n + 3]}
  redis.call('XADD', log, '*', unpack(entry, 1, ARGV[n + 3] == '0' and 8 or 10))
  new = new + #ARGV[n + 2] + 1
end
local lines, bytes = redis.call('XLEN', log), redis.call('HINCRBY', job, 'log_bytes', new)
local keep = math.min(most, math.floor(lines * most * 1024 / bytes))
if keep < lines then
  local dropped = 0
  for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', lines - keep)) do
    dropped = dropped + (entry[2][10] or 1)
  end
  redis.call('XTRIM', log, 'MAXLEN', keep)
  redis.call('HSET', job, 'log_bytes', math.floor(bytes * keep / lines))
  redis.call('HINCRBY', job, 'log_dropped', dropped)
end
return ''
