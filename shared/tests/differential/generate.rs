//! Sequences of commands from templates: a few keys, members and values, so that commands meet each other's results.
//!
//! A word in angle brackets stands for what is drawn, `a|b` for one of several words, and a word in square brackets, or a
//! group of words joined by `_` there, is left out as often as not.

/// A stream of numbers that follows from its seed (SplitMix64).
pub(super) struct Generator(u64);

/// One command a line. Names are looked at only on the key that no score ever differs in.
const TEMPLATES: &str = "\
SET <k> <v> [EX_<s>|PX_<ms>|EXAT_<at>|KEEPTTL]
SET <k> <v> [EX_<s>|KEEPTTL] NX|XX|GET [GET]
SETNX <k> <v>
MSETNX <t> <v> <t> <v>
GETDEL <k>
RENAMENX <t> <t>
GET <k>
DEL <k> [<k>]
EXISTS <k> <k>
EXPIRE <k> <s> [NX|XX|GT|LT]
PEXPIRE <k> <ms> [NX|XX|GT|LT|NX_GT]
EXPIREAT <k> <at> [NX|XX|GT|LT]
PEXPIREAT <k> <at>000 [NX|XX|GT|LT]
TTL <k>
PTTL <k>
EXPIRETIME <k>
PEXPIRETIME <k>
PERSIST <k>
TYPE <k>
TOUCH <k> <k>
UNLINK <k> <k>
COPY <k> <k> [REPLACE]
RENAME <k> <k>
INCR <k>
INCRBY <k> <i>
DECR <k>
DECRBY <k> <i>
INCRBYFLOAT <k> <f>
APPEND <k> <v>
STRLEN <k>
GETRANGE <k> <p> <p>
SUBSTR <k> <p> <p>
SETRANGE <k> 0|1|3|9|-1 <v>
MSET <k> <v> <k> <v>
MGET <k> <k> <k>
GETSET <k> <v>
SETEX <k> <s> <v>
PSETEX <k> <ms> <v>
GETEX <k> [EX_<s>|PX_<ms>|EXAT_<at>|PXAT_<at>000|PERSIST]
SADD <k> <m> <m> <m>
SADD <k> <m> <m>
SREM <k> <m> <m>
SISMEMBER <k> <m>
SMISMEMBER <k> <m> <m>
SMEMBERS <k>
SCARD <k>
SMOVE <k> <k> <m>
SINTER <k> <k>
SUNION <k> <k> <k>
SDIFF <k> <k>
SINTERSTORE <k> <k> <k>
SUNIONSTORE <k> <k> <k>
SDIFFSTORE <k> <k> <k>
SINTERCARD 2 <k> <k> [LIMIT_<p>]
SRANDMEMBER <k> [<p>]
SPOP <k> 1000|0|-1
SSCAN <k> 0 [MATCH_<g>] COUNT 1000
HSET <k> <m> <v> <m> <v>
HSET <k> <m> <i>
HGET <k> <m>
HGETALL <k>
HDEL <k> <m> <m>
HINCRBY <k> <m> <i>
HLEN <k>
HMGET <k> <m> <m>
HMSET <k> <m> <v> <m> <v>
HEXISTS <k> <m>
HSETNX <k> <m> <v>
HINCRBYFLOAT <k> <m> <f>
HKEYS <k>
HVALS <k>
HSTRLEN <k> <m>
HRANDFIELD <k> [<p>]
HRANDFIELD <k> <p> WITHVALUES
HSCAN <k> 0 [MATCH_<g>] COUNT 1000
ZADD <k> [NX|XX] [CH] <z> <m> <z> <m> <z> <m>
ZADD <k> [GT|LT] [CH] <z> <m>
ZADD <k> [NX|XX|GT|LT] INCR <z> <m>
ZINCRBY <k> <z> <m>
ZSCORE <k> <m>
ZMSCORE <k> <m> <m>
ZRANK <k> <m>
ZREVRANK <k> <m>
ZPOPMIN <k> [<p>]
ZPOPMAX <k> [<p>]
ZCARD <k>
ZREM <k> <m> <m>
ZRANGE <k> <p> <p> [REV] [WITHSCORES]
ZRANGE <k> <b> <b> BYSCORE [REV] [LIMIT_<p>_<p>] [WITHSCORES]
ZREVRANGE <k> <p> <p> [WITHSCORES]
ZRANGEBYSCORE <k> <b> <b> [WITHSCORES] [LIMIT_<p>_<p>]
ZREVRANGEBYSCORE <k> <b> <b> [WITHSCORES] [LIMIT_<p>_<p>]
ZRANGESTORE <k> <k> <p> <p> [REV]
ZRANGESTORE <k> <k> <b> <b> BYSCORE [REV] [LIMIT_<p>_<p>]
ZCOUNT <k> <b> <b>
ZREMRANGEBYRANK <k> <p> <p>
ZREMRANGEBYSCORE <k> <b> <b>
ZINTER 2 <k> <k> [WEIGHTS_<w>_<w>] [AGGREGATE_SUM|AGGREGATE_MIN|AGGREGATE_MAX] [WITHSCORES]
ZUNION 3 <k> <k> <k> [WEIGHTS_<w>_<w>_<w>] [AGGREGATE_MIN|AGGREGATE_MAX] [WITHSCORES]
ZDIFF 2 <k> <k> [WITHSCORES]
ZINTERSTORE <k> 2 <k> <k> [WEIGHTS_<w>_<w>] [AGGREGATE_MIN|AGGREGATE_MAX]
ZUNIONSTORE <k> 2 <k> <k> [WEIGHTS_<w>_<w>] [AGGREGATE_MIN|AGGREGATE_MAX]
ZDIFFSTORE <k> 2 <k> <k>
ZINTERCARD 2 <k> <k> [LIMIT_<p>]
ZRANDMEMBER <k> [<p>]
ZRANDMEMBER <k> <p> WITHSCORES
ZSCAN <k> 0 [MATCH_<g>] COUNT 1000
ZADD names 0 <m> 0 <m> 0 <m>
ZREM names <m>
ZRANGE names <n> <n> BYLEX [REV] [LIMIT_<p>_<p>]
ZRANGEBYLEX names <n> <n> [LIMIT_<p>_<p>]
ZREVRANGEBYLEX names <n> <n> [LIMIT_<p>_<p>]
ZLEXCOUNT names <n> <n>
ZREMRANGEBYLEX names <n> <n>
PING [<v>]
ECHO <v>
";

/// `length` commands that follow from `seed`.
pub(super) fn generate(seed: u64, length: usize) -> Vec<String> {
    let mut generator = Generator(seed);
    let templates: Vec<&str> = TEMPLATES.lines().collect();
    // Each sequence favours some commands, so that a few of them meet often.
    let favoured: Vec<&str> = (0..25).map(|_| generator.one(&templates)).collect();
    let mut line = |_| {
        let template = if generator.below(3) > 0 { generator.one(&favoured) } else { generator.one(&templates) };
        generator.fill(template)
    };
    (0..length).map(&mut line).collect()
}

impl Generator {
    /// The names of all commands that may be generated.
    pub(super) fn templates() -> impl Iterator<Item = &'static str> {
        TEMPLATES.lines().filter_map(|line| line.split(' ').next())
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.bits() % bound as u64).unwrap_or(0)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn fill(&mut self, template: &str) -> String {
        let mut words = Vec::new();
        for word in template.split(' ') {
            match word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
                Some(option) => {
                    if self.below(2) == 0 {
                        let chosen = self.one(&option.split('|').collect::<Vec<_>>());
                        words.extend(chosen.split('_').map(|word| self.drawn(word)));
                    }
                }
                None => {
                    let chosen = self.one(&word.split('|').collect::<Vec<_>>());
                    words.push(self.drawn(chosen));
                }
            }
        }
        // Now and then a word too few, too many, or that means nothing here.
        match self.below(60) {
            // Another score there, and names have no order.
            _ if template.starts_with("ZADD names") => {}
            // Another key lies in another slot, in which the origin has another order.
            _ if template.contains("<t>") => {}
            0 if words.len() > 1 => {
                words.pop();
            }
            1 => words.push(self.drawn("<x>")),
            2 if words.len() > 2 => {
                let at = 2 + self.below(words.len() - 2);
                words[at] = self.drawn("<x>");
            }
            _ => {}
        }
        words.join(" ")
    }

    fn drawn(&mut self, word: &str) -> String {
        let Some((before, rest)) = word.split_once('<') else { return word.to_owned() };
        let Some((kind, after)) = rest.split_once('>') else { return word.to_owned() };
        let drawn = match kind {
            "k" => self.one(&["k1", "k2", "k3", "{k1}a", "{k1}b"]).to_owned(),
            // Of one slot.
            "t" => self.one(&["k1", "{k1}a", "{k1}b"]).to_owned(),
            "m" => self.one(&["a", "b", "c", "d", "e", "1", "2", "10", "\"\"", "\\xff\\s"]).to_owned(),
            "v" => self
                .one(&["a", "text", "0", "7", "-3", "10.5", "9223372036854775807", "\"\"", "\\x00\\xfe", "007", "1e3"])
                .to_owned(),
            // No integer: as a deadline it would pass while the test runs.
            "x" => self.one(&["text", "\"\"", "1e3", "10.5", "(", "nan"]).to_owned(),
            "i" => self.one(&["1", "2", "-5", "100", "9223372036854775807", "-9223372036854775808"]).to_owned(),
            "f" => self.one(&["0.1", "-0.5", "3", "1e10", "0.30000000000000004", "-1.25e-5", "5.0e3"]).to_owned(),
            "p" => self.one(&["0", "1", "2", "3", "5", "-1", "-2", "-4", "100"]).to_owned(),
            // Halves, so that sums are exact in any order; negative zero never comes of them.
            "z" => self.one(&["1", "2", "2", "3.5", "-1", "0", "10", "-2.5", "inf", "-inf"]).to_owned(),
            "b" => self.one(&["0", "1", "(1", "2", "(2", "3.5", "-inf", "+inf", "(-1", "(+inf", "-2.5"]).to_owned(),
            "w" => self.one(&["1", "2", "0.5", "10"]).to_owned(),
            "n" => self.one(&["-", "+", "[a", "(a", "[b", "(c", "[d", "[1", "(2", "[zz", "["]).to_owned(),
            "g" => self.one(&["*", "a", "[a-c]", "?", "1*", "[^a]", "\\x5c*", "x"]).to_owned(),
            // Far enough apart that the order of two deadlines is no matter of milliseconds.
            "s" => (1_000 + self.below(1_000) * 1_000).to_string(),
            "ms" => (2_000_000 + self.below(1_000) * 1_000_000).to_string(),
            "at" => (4_000_000_000 + self.below(100) * 1_000_000).to_string(),
            other => panic!("nothing is called {other}"),
        };
        format!("{before}{drawn}{after}")
    }
}
