-- The one compare-and-set: all of a commit, or nothing. A call brings one commit or several, each for itself.
--
-- It knows no CRDT rule. It compares what it is given as text (so that 64-bit numbers stay exact), and writes what it is
-- given. Nothing is written before every comparison has held, except for commands that may fail on what a plain client
-- left there (INCRBY on a text): these run first, and are undone if one of them fails; the value is foreign then.
--
-- A call has the number of commits as its first argument, then where to publish what became of them and as whom; before the
-- arguments of each stand how many keys and how many arguments it has. It answers with their outcomes, of which 0 is that of
-- most. Of one commit:
-- keys: marker, feed, then for each key its companion and the plain key.
-- args: fence, sequence, slot, the sequence afterwards, then "new" or "". Behind "new", of keys at which nothing stands yet and
-- whose arguments are alike: how many keys, the verb of a command that cannot fail, how many further words it has, how many words
-- the fields to write have; then per key the words of both. After that the next keys that are alike
-- and behind "", in this order
--   per key: expected version or "", expected type or "none" or "" for whatever it is, "?" before it if it may also be absent
--   per key: reads that tell whether the value moved, as a count and, for each, its length and words, the answer behind "="
--            or "" for none, and what becomes of the commit at another answer: "refuse", "less" to refuse where less stands
--            there than expected, or nothing, and else only to tell of it, "tell"
--   per key: commands that may fail, as a count and, for each, its length and words
--   per key: commands that cannot fail, likewise; then "" to forget the key, else its version, expiry or "", the fields
--            to drop, the fields to write with their values, each list with its length before it
-- and then in any case the marker's fields to write beside the sequence, then those to drop, likewise.
-- The words of reads and commands are without the key, which is the second of each.
--
-- Most commits are of a few keys that are new. What such a one runs through takes few arguments, by their places, and makes no
-- tables, for in Lua a call or a table costs what a command of Redis does, and an argument a fifth of it, so that what is alike
-- is said once; and whether all keys of a call that are to be new are so is asked at once.

-- Lua's stack takes some 8000 values in one call. Even, so that a field and its value stay together.
local CHUNK = 4000

-- What most commits come to.
local COMMITTED = 0

-- Whether Redis says that a command does not fit the value, rather than that it cannot or may not run it.
local function is_about_content(err)
  for _, words in ipairs({ 'WRONGTYPE', 'not an integer', 'would overflow', 'not a number', 'not a valid float' }) do
    if string.find(err, words, 1, true) then return true end
  end
  return false
end

-- Whether a read answers what it should, the same text, or the same score however it is written; and if not, whether the
-- commit may happen all the same.
local function is_answered(words, expected, otherwise)
  local answer = redis.pcall(unpack(words))
  if type(answer) == 'table' then return false, otherwise == 'tell' end
  if not answer and expected == '' then return true end
  if answer and '=' .. answer == expected then return true end
  local there, wanted = tonumber(answer or ''), tonumber(string.sub(expected, 2))
  if words[1] == 'ZSCORE' and there and there == wanted then return true end
  local is_less = otherwise == 'less' and wanted and (not there or there < wanted)
  return false, otherwise ~= 'refuse' and not is_less
end

-- What takes back the command, read before it runs. `there` tells whether the key exists, where that is known.
local function undo_of(words, there)
  local verb, key = words[1], words[2]
  if verb == 'INCRBY' and there == false then
    return function() redis.call('UNLINK', key) end
  end
  -- The least integer has no opposite; it takes the general way.
  if verb == 'INCRBY' and there and words[3] ~= '-9223372036854775808' then
    -- Redis counts only on integers as it writes them itself, so the same bytes come back.
    return function() redis.call('DECRBY', key, words[3]) end
  end
  if verb == 'HINCRBY' then
    local was = redis.pcall('HGET', key, words[3])
    return function()
      if was then redis.call('HSET', key, words[3], was) else redis.call('HDEL', key, words[3]) end
    end
  end
  if verb == 'ZINCRBY' then
    local was = redis.pcall('ZSCORE', key, words[4])
    return function()
      if was then redis.call('ZADD', key, was, words[4]) else redis.call('ZREM', key, words[4]) end
    end
  end
  local was, ttl = redis.call('DUMP', key), redis.call('PTTL', key)
  return function()
    redis.call('UNLINK', key)
    if was then redis.call('RESTORE', key, ttl < 0 and 0 or math.max(ttl, 1), was) end
  end
end

-- The words behind the first `at` as a command on the key, and how many arguments are taken with them.
local function command_at(args, at, key)
  local last = at + 1 + args[at + 1]
  return { args[at + 2], key, unpack(args, at + 3, last) }, last
end

-- Hands the list behind the first `at` arguments to redis.call behind the given words, in chunks; says how many are taken.
local function each_chunk(verb, key, args, at)
  local last = at + 1 + args[at + 1]
  for first = at + 2, last, CHUNK do
    redis.call(verb, key, unpack(args, first, math.min(first + CHUNK - 1, last)))
  end
  return last
end

-- Writes a field of a hash and the list behind the first `at` arguments; says how many are taken.
local function put(key, field, value, args, at)
  local last = at + 1 + args[at + 1]
  if last - at <= CHUNK then
    redis.call('HSET', key, field, value, unpack(args, at + 2, last))
    return last
  end
  redis.call('HSET', key, field, value)
  return each_chunk('HSET', key, args, at)
end

-- An outcome with one more key in it.
local function with(outcome, name, n)
  outcome = outcome or { name }
  outcome[#outcome + 1] = n
  return outcome
end

-- Notes in the feed that a commit of several keys brought these to its sequence, each behind that.
local function feed_all(feed, moved)
  for first = 1, #moved, CHUNK do
    redis.call('ZADD', feed, unpack(moved, first, math.min(first + CHUNK - 1, #moved)))
  end
end

-- Begins so many keys, whose names stand behind the first `names`, if nothing stands there: what refuses it, or how many
-- arguments are taken.
local function begin(keys, names, count, feed, seq, args, at, are_new)
  if not are_new then
    local conflict, foreign
    for n = 1, count do
      if redis.call('EXISTS', keys[names + 2 * n]) == 1 then
        conflict = with(conflict, 'conflict', n)
      elseif redis.call('EXISTS', keys[names + 2 * n + 1]) == 1 then
        foreign = with(foreign, 'foreign', n)
      end
    end
    if conflict or foreign then return conflict or foreign end
  end
  local moved = count > 1 and {} or nil
  local last = 0
  while last < count do
    local first, verb, words, fields = last + 1, args[at + 2], args[at + 3] + 0, args[at + 4] + 0
    last = last + args[at + 1]
    at = at + 4
    for n = first, last do
      local key = keys[names + 2 * n + 1]
      redis.call(verb, key, unpack(args, at + 1, at + words))
      at = at + words
      redis.call('HSET', keys[names + 2 * n], 'v', seq, unpack(args, at + 1, at + fields))
      at = at + fields
      if moved then
        moved[2 * n - 1], moved[2 * n] = seq, key
      else
        redis.call('ZADD', feed, seq, key)
      end
    end
  end
  if moved then feed_all(feed, moved) end
  return nil, at
end

-- The commit of so many keys, whose names stand behind the first `before`, and whose arguments behind the first `at`. With
-- `are_new` those of which nothing is to stand there, neither companion nor value, were found to be so.
local function commit(keys, before, count, args, at, are_new)
  local marker, feed = keys[before + 1], keys[before + 2]
  -- Where the n-th key's companion stands, and behind it the key.
  local names = before + 1

  local fence, seq = args[at + 1], args[at + 2]
  local slot, next_seq = args[at + 3], args[at + 4]
  at = at + 5
  local held = redis.call('HMGET', marker, 'i', 's')
  if (held[1] or '') ~= fence or (held[2] or '0') ~= seq then return { 'stale' } end
  if args[at] == 'new' then
    local refused
    refused, at = begin(keys, names, count, feed, next_seq, args, at, are_new)
    if refused then return refused end
    at = put(marker, 's', next_seq, args, at)
    if args[at + 1] ~= '0' then each_chunk('HDEL', marker, args, at) end
    return COMMITTED, slot, next_seq
  end

  local conflict, foreign, missing
  local first_at = at
  for n = 1, count do
    local version, kind = args[at + 1], args[at + 2]
    at = at + 2
    local is_new = are_new and version == '' and kind == 'none'
    if not is_new and (redis.call('HGET', keys[names + 2 * n], 'v') or '') ~= version then
      conflict = with(conflict, 'conflict', n)
    end
    if not is_new and kind ~= '' then
      local there = redis.call('TYPE', keys[names + 2 * n + 1]).ok
      local may_be_absent = string.byte(kind) == 63
      if there == 'none' then
        if kind ~= 'none' and not may_be_absent then missing = with(missing, 'missing', n) end
      elseif there ~= kind and '?' .. there ~= kind then
        foreign = with(foreign, 'foreign', n)
      end
    end
  end
  local refused = conflict or foreign or missing
  if refused then return refused end

  local moved_on, drifted
  for n = 1, count do
    at = at + 1
    if args[at] ~= '0' then
      local is_same, is_allowed = true, true
      for _ = 1, tonumber(args[at]) do
        local words
        words, at = command_at(args, at, keys[names + 2 * n + 1])
        local is_so, may_differ = is_answered(words, args[at + 1], args[at + 2])
        at = at + 2
        if not is_so then
          is_same = false
          is_allowed = is_allowed and may_differ
        end
      end
      if not is_allowed then
        moved_on = with(moved_on, 'moved', n)
      elseif not is_same then
        drifted = with(drifted, 'committed', n)
      end
    end
  end
  if moved_on then return moved_on end

  local undo
  for n = 1, count do
    at = at + 1
    if args[at] ~= '0' then
      local is_there
      local kind = args[first_at + 2 * n]
      -- One that may be absent may be either.
      if kind == 'none' then is_there = false elseif kind ~= '' and string.byte(kind) ~= 63 then is_there = true end
      for _ = 1, tonumber(args[at]) do
        local words
        words, at = command_at(args, at, keys[names + 2 * n + 1])
        local back = undo_of(words, is_there)
        is_there = nil
        local answer = redis.pcall(unpack(words))
        if type(answer) == 'table' and answer.err then
          for step = #(undo or {}), 1, -1 do undo[step]() end
          if is_about_content(answer.err) then return { 'foreign', n } end
          return answer
        end
        undo = undo or {}
        undo[#undo + 1] = back
      end
    end
  end

  local moved = count > 1 and {} or nil
  for n = 1, count do
    local companion, key = keys[names + 2 * n], keys[names + 2 * n + 1]
    at = at + 1
    if args[at] ~= '0' then
      for _ = 1, tonumber(args[at]) do
        local last = at + 1 + args[at + 1]
        redis.call(args[at + 2], key, unpack(args, at + 3, last))
        at = last
      end
    end
    local version = args[at + 1]
    if version == '' then
      at = at + 1
      redis.call('UNLINK', companion)
      redis.call('ZREM', feed, key)
    else
      local expiry = args[at + 2]
      at = at + 2
      if args[at + 1] == '0' then at = at + 1 else at = each_chunk('HDEL', companion, args, at) end
      at = put(companion, 'v', version, args, at)
      if expiry ~= '' then
        redis.call('PEXPIREAT', companion, expiry)
      elseif args[first_at + 2 * n - 1] ~= '' then
        redis.call('PERSIST', companion)
      end
      if moved then
        moved[#moved + 1] = version
        moved[#moved + 1] = key
      else
        redis.call('ZADD', feed, version, key)
      end
    end
  end
  if moved then feed_all(feed, moved) end
  at = put(marker, 's', next_seq, args, at)
  if args[at + 1] ~= '0' then each_chunk('HDEL', marker, args, at) end
  return drifted or COMMITTED, slot, next_seq
end

-- Whether of no key of the call that is to be new companion or value stands there. Where one does, and where they are more
-- than Lua passes at once, each commit looks for itself. The commits of a call are of different slots, so none begins another's
-- key; and if two were of one slot, the marker would refuse the second.
local function are_all_new(keys, args)
  local names, count, before, at = {}, 0, 0, 3
  for _ = 1, tonumber(args[1]) do
    local length, from = args[at + 1] + 0, at + 7
    local are_new = args[from] == 'new'
    for name = before + 3, before + length, 2 do
      if are_new or args[from + 1] == '' and args[from + 2] == 'none' then
        names[count + 1], names[count + 2] = keys[name], keys[name + 1]
        count = count + 2
      end
      from = from + 2
    end
    before, at = before + length, at + 2 + args[at + 2]
  end
  return count > 0 and count <= CHUNK and redis.call('EXISTS', unpack(names)) == 0
end

local function commits(keys, args)
  local are_new = are_all_new(keys, args)
  local outcomes, news, before, at = {}, {}, 0, 3
  for n = 1, tonumber(args[1]) do
    local length, slot, seq = args[at + 1] + 0, nil, nil
    outcomes[n], slot, seq = commit(keys, before, (length - 2) / 2, args, at + 2, are_new)
    if slot then
      news[#news + 1] = slot
      news[#news + 1] = seq
    end
    before, at = before + length, at + 2 + args[at + 2]
  end
  if #news > 0 then redis.call('PUBLISH', args[2], args[3] .. ' ' .. table.concat(news, ' ')) end
  return outcomes
end

-- Whether Redis says that a command may run later, or by another user, rather than that it does not fit what stands there.
local function is_put_off(err)
  if string.find(err, 'executing the script', 1, true) then return true end
  local code = string.match(err, '^%-?(%u+)')
  for _, known in ipairs({
    'OOM', 'MISCONF', 'NOREPLICAS', 'NOPERM', 'READONLY', 'BUSY', 'LOADING', 'MASTERDOWN', 'CLUSTERDOWN', 'TRYAGAIN',
  }) do
    if code == known then return true end
  end
  return false
end

-- Runs one hub's jobs of one slot, each once: those whose number lies after the one that stands in the hash.
-- keys: the hash of the hubs' numbers, then the keys of the jobs.
-- args: the hub, how many jobs; of each its number, how many words, the words. One without words only counts as run.
-- Answers with the number that stands there then, and for each job that ran now its number, "r" or "e", and the reply or the
-- error; last, where a job is put off, why. It and those after it have not run.
local function jobs(keys, args)
  local numbers, hub, at = keys[1], args[1], 2
  local through = redis.call('HGET', numbers, hub) or '0'
  local answers = {}
  for _ = 1, tonumber(args[2]) do
    local no, length = args[at + 1], tonumber(args[at + 2])
    if tonumber(no) > tonumber(through) then
      -- First, so that what forbids it forbids the job too.
      redis.call('HSET', numbers, hub, no)
      if length > 0 then
        local answer = redis.pcall(unpack(args, at + 3, at + 2 + length))
        if type(answer) == 'table' and answer.err then
          if is_put_off(answer.err) then
            redis.call('HSET', numbers, hub, through)
            return { through, answers, answer.err }
          end
          answers[#answers + 1] = { no, 'e', answer.err }
        else
          answers[#answers + 1] = { no, 'r', answer }
        end
      end
      through = no
    end
    at = at + 2 + length
  end
  return { through, answers }
end

-- Swaps the account of a strict limit, or reads it.
-- keys: the hash. args: the server's run id, the version that must stand there or "" for none, the version that stands there
-- then or "" to read only, the bytes, when they vanish.
-- Answers with "1" where it was swapped; else with "0" and what stands there, if anything does: its version, the run id under
-- which it was written, and the bytes.
local function swap(keys, args)
  local found = redis.call('HMGET', keys[1], 'v', 'r', 'b')
  local version = found[1] or ''
  if args[3] ~= '' and version == args[2] then
    redis.call('HSET', keys[1], 'v', args[3], 'r', args[1], 'b', args[4])
    redis.call('PEXPIREAT', keys[1], args[5])
    return { '1' }
  end
  if version == '' then return { '0' } end
  return { '0', version, found[2] or '', found[3] or '' }
end

-- Runs every command that a commit may need on a key of no use, so that a user who may not run one is found out here and
-- not half-way through a commit. Answers with the first error, or nothing.
local function probe(keys, args)
  local key, channel = keys[1], args[1]
  local dump
  for _, words in ipairs({
    { 'UNLINK' }, { 'EXISTS' }, { 'SET', '1' }, { 'GET' }, { 'INCRBY', '1' }, { 'DECRBY', '1' }, { 'TYPE' },
    { 'PEXPIREAT', '33333333333333' }, { 'PTTL' }, { 'PERSIST' }, { 'DUMP' }, { 'UNLINK' }, { 'RESTORE', '0' }, { 'UNLINK' },
    { 'HSET', 'f', '1' }, { 'HINCRBY', 'f', '1' }, { 'HGET', 'f' }, { 'HMGET', 'f' }, { 'HDEL', 'f' },
    { 'ZADD', '1', 'm' }, { 'ZINCRBY', '1', 'm' }, { 'ZSCORE', 'm' }, { 'ZREM', 'm' },
    { 'SADD', 'm' }, { 'SISMEMBER', 'm' }, { 'SREM', 'm' }, { 'PUBLISH', '' },
  }) do
    local verb = table.remove(words, 1)
    if verb == 'RESTORE' then words[2] = dump end
    local answer = redis.pcall(verb, verb == 'PUBLISH' and channel or key, unpack(words))
    if type(answer) == 'table' and answer.err then
      redis.pcall('UNLINK', key)
      return { verb, answer.err }
    end
    if verb == 'DUMP' then dump = answer end
  end
  return {}
end
