//! Rules to instructions.
//!
//! A filter is first a graph, whose nodes end in what happens next and where
//! equal nodes are one node, so that equal ranges of numbers merge and equal
//! tails are shared without further effort. The graph is then laid out from
//! its end, because classic BPF jumps only forward.
//!
//! Numbers are found by a balanced tree of comparisons over ranges of equal
//! outcome: the kernel runs a new filter for every number to find those that
//! are always allowed, so the depth of the tree is what a launch pays for.
//! Conditions on arguments are blocks behind the leaves of the tree.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use launcher_policy::seccomp::{Instruction, op};

use super::rules::{
    self, ALL_UNKNOWN, Action, Argument, Call, Comparison, Condition, Rule, Rules, Width,
};
use super::tables::{self, Abi};

/// Where `seccomp_data` has the number of the call.
const NUMBER: u32 = 0;

/// Where `seccomp_data` has the architecture.
const ARCHITECTURE: u32 = 4;

/// Where `seccomp_data` has the arguments, 8 bytes each.
const ARGUMENTS: u32 = 16;

/// The farthest a comparison can jump.
const REACH: usize = u8::MAX as usize;

/// Compiles rules.
///
/// The filter is valid but for its length, which is not limited here.
#[must_use]
pub fn compile(rules: &Rules) -> Vec<Instruction> {
    let mut graph = Graph::default();
    let x32 = rules.others.get(&Abi::X32).into_iter().flatten();
    let native = graph.table(rules.calls.iter().chain(x32), rules.unnamed_ranges());
    // The architecture's own first: nearly every call is one of those.
    let mut compare = graph.answer(Action::KillProcess);
    for (audit, calls) in rules.foreign() {
        let foreign = graph.table(calls.iter(), ALL_UNKNOWN);
        compare = graph.test(op::JUMP_EQUAL, audit, foreign, compare);
    }
    compare = graph.test(op::JUMP_EQUAL, tables::audit(rules.architecture), native, compare);
    let entry = graph.load(ARCHITECTURE, compare);
    Layout::of(&graph.nodes, entry)
}

/// The place of a node in [`Graph::nodes`]. What a node refers to was made
/// before it.
type Id = usize;

/// One step of a filter and what follows it. `A` is BPF's accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    /// The end.
    Return(u32),
    /// `A` becomes the word at this offset of `seccomp_data`. The word is the
    /// same whenever it is loaded.
    Load(u32, Id),
    /// `A` loses the bits that are not here.
    And(u32, Id),
    /// One or the other, by a comparison of `A`.
    Test { code: u16, k: u32, yes: Id, no: Id },
}

/// All steps of a filter.
#[derive(Default)]
struct Graph {
    nodes: Vec<Node>,
    ids: HashMap<Node, Id>,
}

impl Graph {
    /// What follows for each number of a table, and for those it lacks.
    fn table<'r>(
        &mut self,
        calls: impl Iterator<Item = (&'r u32, &'r Call)>,
        unnamed: &[(u32, Action)],
    ) -> Id {
        let mut starts: BTreeMap<u32, Id> =
            unnamed.iter().map(|&(start, action)| (start, self.answer(action))).collect();
        for (&number, call) in calls {
            let call = self.call(call);
            starts.insert(number, call);
            if let Some(after) = number.checked_add(1) {
                let unnamed = self.answer(rules::unnamed(unnamed, after));
                starts.entry(after).or_insert(unnamed);
            }
        }
        self.branch(NUMBER, starts)
    }

    fn call(&mut self, call: &Call) -> Id {
        let mut next = self.answer(call.otherwise);
        for rules in call.rules.chunk_by(alike).rev() {
            let action = self.answer(rules[0].action);
            next = match rules {
                [rule] => rule
                    .conditions
                    .iter()
                    .rev()
                    .fold(action, |yes, condition| self.condition(condition, yes, next)),
                _ => self.any(rules, action, next),
            };
        }
        next
    }

    /// Whether one of several rules matches that are [`alike`].
    fn any(&mut self, rules: &[Rule], yes: Id, no: Id) -> Id {
        let conditions = rules.iter().flat_map(|rule| &rule.conditions);
        let ranges = conditions.filter_map(|condition| condition.comparison.ranges());
        self.within(&rules[0].conditions[0], &union(ranges.flatten().collect()), yes, no)
    }

    fn condition(&mut self, condition: &Condition, yes: Id, no: Id) -> Id {
        match condition.comparison.ranges() {
            Some(ranges) => self.within(condition, &ranges, yes, no),
            None => {
                let words = Words::of(condition.argument);
                self.masked(words, condition.width, &condition.comparison, yes, no)
            }
        }
    }

    /// Whether the argument of a condition lies in one of the ranges, which
    /// ascend and are apart.
    fn within(
        &mut self,
        condition: &Condition,
        ranges: &[RangeInclusive<u64>],
        yes: Id,
        no: Id,
    ) -> Id {
        let words = Words::of(condition.argument);
        match condition.width {
            Width::Bits32 => {
                let lower = ranges.iter().filter_map(|range| {
                    let start = u32::try_from(*range.start()).ok()?;
                    Some(start..=u32::try_from(*range.end()).unwrap_or(u32::MAX))
                });
                self.word_in(words.lower, lower, yes, no)
            }
            Width::Bits64 => self.argument_in(words, ranges, yes, no),
        }
    }

    /// Whether a word lies in one of the ranges.
    fn word_in(
        &mut self,
        word: u32,
        ranges: impl Iterator<Item = RangeInclusive<u32>>,
        yes: Id,
        no: Id,
    ) -> Id {
        let mut starts = BTreeMap::from([(0, no)]);
        for range in ranges {
            starts.insert(*range.start(), yes);
            if let Some(after) = range.end().checked_add(1) {
                starts.insert(after, no);
            }
        }
        self.branch(word, starts)
    }

    /// Whether a whole argument lies in one of the ranges: by its upper word
    /// alone where that settles it, else by the lower word, too.
    fn argument_in(&mut self, words: Words, ranges: &[RangeInclusive<u64>], yes: Id, no: Id) -> Id {
        let mut starts = BTreeMap::from([(0, no)]);
        let mut unsettled: BTreeMap<u32, Vec<RangeInclusive<u32>>> = BTreeMap::new();
        for range in ranges {
            let (first, from) = split(*range.start());
            let (last, to) = split(*range.end());
            if first == last {
                unsettled.entry(first).or_default().push(from..=to);
                continue;
            }
            unsettled.entry(first).or_default().push(from..=u32::MAX);
            unsettled.entry(last).or_default().push(0..=to);
            // From `first + 1` to `last` without it; nothing if they are one.
            starts.insert(first + 1, yes);
            starts.insert(last, no);
        }
        for (upper, lower) in unsettled {
            if let Some(after) = upper.checked_add(1) {
                starts.entry(after).or_insert(no);
            }
            let settled = self.word_in(words.lower, lower.into_iter(), yes, no);
            starts.insert(upper, settled);
        }
        self.branch(words.upper, starts)
    }

    fn masked(
        &mut self,
        words: Words,
        width: Width,
        comparison: &Comparison,
        yes: Id,
        no: Id,
    ) -> Id {
        let Comparison::MaskedEqual { mask, value } = *comparison else {
            unreachable!("all else has ranges");
        };
        let mask = mask & width.mask();
        if value & !mask != 0 {
            return no;
        }
        let (upper_mask, lower_mask) = split(mask);
        let (upper, lower) = split(value);
        let yes = self.word_masked(words.lower, lower_mask, lower, yes, no);
        self.word_masked(words.upper, upper_mask, upper, yes, no)
    }

    /// Whether the bits of a word under the mask are those of the value.
    fn word_masked(&mut self, word: u32, mask: u32, value: u32, yes: Id, no: Id) -> Id {
        match mask {
            0 => yes,
            u32::MAX => self.word_in(word, [value..=value].into_iter(), yes, no),
            // A test for any bit leaves `A` as it is.
            _ if value == 0 => self.bits_set(word, mask, no, yes),
            _ if value == mask && mask.is_power_of_two() => self.bits_set(word, mask, yes, no),
            _ => {
                let compare = self.test(op::JUMP_EQUAL, value, yes, no);
                let and = self.add(Node::And(mask, compare));
                self.load(word, and)
            }
        }
    }

    fn bits_set(&mut self, word: u32, mask: u32, yes: Id, no: Id) -> Id {
        let (yes, no) = (self.loaded(word, yes), self.loaded(word, no));
        let test = self.test(op::JUMP_SET, mask, yes, no);
        self.load(word, test)
    }

    /// Branches by the value of a word; the map says what follows from each
    /// value on, beginning with 0.
    fn branch(&mut self, word: u32, starts: BTreeMap<u32, Id>) -> Id {
        let mut ranges: Vec<(u32, Id)> = Vec::with_capacity(starts.len());
        for (start, id) in starts {
            let id = self.loaded(word, id);
            if ranges.last().is_none_or(|(_, last)| *last != id) {
                ranges.push((start, id));
            }
        }
        let tree = self.tree(&ranges, u32::MAX);
        self.load(word, tree)
    }

    /// A balanced tree over ranges, of which neighbours differ; the last one
    /// goes up to `end`.
    fn tree(&mut self, ranges: &[(u32, Id)], end: u32) -> Id {
        if let Some(id) = self.exceptions(ranges, end) {
            return id;
        }
        let (below, from) = ranges.split_at(ranges.len() / 2);
        let at = from[0].0;
        let (yes, no) = (self.tree(from, end), self.tree(below, at - 1));
        self.test(op::JUMP_GREATER_EQUAL, at, yes, no)
    }

    /// Tests for equality, where all ranges but those of one outcome are of a
    /// single value, and no more of them than a tree would be deep: it would
    /// be larger.
    fn exceptions(&mut self, ranges: &[(u32, Id)], end: u32) -> Option<Id> {
        let depth = ranges.len().next_power_of_two().trailing_zeros() as usize;
        if ranges.len() / 2 > depth {
            // Neighbours differ, so every other range is an exception.
            return None;
        }
        let ends = ranges.iter().skip(1).map(|(start, _)| start - 1).chain([end]);
        let others = |common: Id| {
            let ranges = ranges.iter().zip(ends.clone());
            ranges.filter(move |((_, id), _)| *id != common)
        };
        let common = ranges.iter().map(|(_, id)| *id).find(|id| {
            others(*id).count() <= depth && others(*id).all(|((start, _), end)| *start == end)
        })?;
        let exceptions: Vec<(u32, Id)> = others(common).map(|(range, _)| *range).collect();
        let tests = exceptions.iter().rev();
        Some(tests.fold(common, |no, &(at, yes)| self.test(op::JUMP_EQUAL, at, yes, no)))
    }

    /// A node as it is reached when `A` holds the word already.
    fn loaded(&self, word: u32, id: Id) -> Id {
        match self.nodes[id] {
            Node::Load(same, next) if same == word => next,
            _ => id,
        }
    }

    fn load(&mut self, word: u32, next: Id) -> Id {
        match self.nodes[next] {
            // What does not look at `A` needs no load.
            Node::Return(_) | Node::Load(..) => next,
            Node::And(..) | Node::Test { .. } => self.add(Node::Load(word, next)),
        }
    }

    fn test(&mut self, code: u16, k: u32, yes: Id, no: Id) -> Id {
        if yes == no { yes } else { self.add(Node::Test { code, k, yes, no }) }
    }

    fn answer(&mut self, action: Action) -> Id {
        self.add(Node::Return(action.value()))
    }

    fn add(&mut self, node: Node) -> Id {
        *self.ids.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }
}

/// Where `seccomp_data` has the halves of an argument.
#[derive(Clone, Copy)]
struct Words {
    lower: u32,
    upper: u32,
}

impl Words {
    /// On a little-endian machine, as all are that a policy can be made for.
    const fn of(argument: Argument) -> Self {
        let lower = ARGUMENTS + 8 * argument as u32;
        Self { lower, upper: lower + 4 }
    }
}

/// Whether both rules ask one argument for ranges, to do the same.
fn alike(rule: &Rule, other: &Rule) -> bool {
    let asks = |rule: &Rule| match rule.conditions.as_slice() {
        [condition] if condition.comparison.ranges().is_some() => {
            Some((condition.argument, condition.width))
        }
        _ => None,
    };
    asks(rule).is_some() && asks(rule) == asks(other) && rule.action == other.action
}

/// The same values in ranges that ascend and are apart.
fn union(mut ranges: Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut apart: Vec<RangeInclusive<u64>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*range.end().max(last.end());
            }
            _ => apart.push(range),
        }
    }
    apart
}

/// The upper and the lower word.
const fn split(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

/// A filter that is being laid out, last instruction first.
struct Layout<'g> {
    nodes: &'g [Node],
    reversed: Vec<Instruction>,
    /// Where in `reversed` a node can be entered: the latest copy of it, or
    /// the latest jump to it.
    entries: HashMap<Id, usize>,
}

impl<'g> Layout<'g> {
    /// The instructions of all that is reached from `entry`.
    fn of(nodes: &'g [Node], entry: Id) -> Vec<Instruction> {
        let mut layout = Layout { nodes, reversed: Vec::new(), entries: HashMap::new() };
        let mut open = vec![entry];
        while let Some(&id) = open.last() {
            // What follows must lie behind, so it is placed first.
            match layout.unplaced(id) {
                Some(missing) => open.push(missing),
                None => {
                    open.pop();
                    layout.place(id);
                }
            }
        }
        layout.reversed.reverse();
        layout.reversed
    }

    /// A node that must be placed before this one.
    fn unplaced(&self, id: Id) -> Option<Id> {
        let missing = |id: Id| (!self.entries.contains_key(&id)).then_some(id);
        match self.nodes[id] {
            Node::Return(_) => None,
            Node::Load(_, next) | Node::And(_, next) => missing(next),
            Node::Test { yes, no, .. } => missing(yes).or_else(|| missing(no)),
        }
    }

    fn place(&mut self, id: Id) {
        match self.nodes[id] {
            Node::Return(value) => self.push(plain(op::RETURN, value)),
            Node::Load(word, next) => {
                self.bring(next, 0);
                self.push(plain(op::LOAD, word));
            }
            Node::And(mask, next) => {
                self.bring(next, 0);
                self.push(plain(op::AND, mask));
            }
            Node::Test { code, k, yes, no } => {
                // One less, for what bringing `no` may put in between.
                self.bring(yes, REACH - 1);
                self.bring(no, REACH);
                let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
                self.push(Instruction { code, jt, jf, k });
            }
        }
        self.entries.insert(id, self.reversed.len() - 1);
    }

    /// Makes a placed node reachable by a jump over at most `reach`
    /// instructions from what is placed next.
    fn bring(&mut self, id: Id, reach: usize) {
        let distance = self.distance(id);
        if distance <= reach {
            return;
        }
        self.push(match self.nodes[id] {
            // As short as a jump to it, and faster.
            Node::Return(value) => plain(op::RETURN, value),
            _ => plain(op::JUMP, distance as u32),
        });
        self.entries.insert(id, self.reversed.len() - 1);
    }

    /// How many instructions lie between what is placed next and a node.
    fn distance(&self, id: Id) -> usize {
        self.reversed.len() - 1 - self.entries[&id]
    }

    fn push(&mut self, instruction: Instruction) {
        self.reversed.push(instruction);
    }
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use launcher_policy::seccomp::validate;
    use launcher_policy::wire::Architecture;

    use super::super::rules::{Data, X32_BIT};
    use super::super::simulate::Simulator;
    use super::*;

    const ARCHITECTURES: [Architecture; 3] =
        [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64];

    const DENY: Action = Action::Errno(1);

    /// SplitMix64: the same numbers in every run.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut value = self.0;
            value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            value ^ (value >> 31)
        }

        fn below(&mut self, limit: u64) -> u64 {
            self.next() % limit
        }

        /// A value as arguments have: mostly small, at an edge, or a flag.
        fn value(&mut self) -> u64 {
            match self.below(8) {
                0 => self.next(),
                1 => 1 << self.below(64),
                2 => self.below(4) << 32 | self.below(4),
                3 => (1 << 32) - 2 + self.below(4),
                4 => u64::MAX - self.below(2),
                _ => self.below(6),
            }
        }

        fn comparison(&mut self) -> Comparison {
            let value = self.value();
            match self.below(9) {
                0 => Comparison::Equal(value),
                1 => Comparison::NotEqual(value),
                2 => Comparison::Less(value),
                3 => Comparison::LessOrEqual(value),
                4 => Comparison::Greater(value),
                5 => Comparison::GreaterOrEqual(value),
                6 => Comparison::OneOf((0..self.below(9)).map(|_| self.value()).collect()),
                7 => Comparison::MaskedEqual { mask: value, value: value & self.value() },
                _ => Comparison::MaskedEqual { mask: value, value: self.value() },
            }
        }

        fn condition(&mut self) -> Condition {
            Condition {
                argument: Argument::ALL[self.below(3) as usize],
                width: if self.below(2) == 0 { Width::Bits32 } else { Width::Bits64 },
                comparison: self.comparison(),
            }
        }

        fn action(&mut self) -> Action {
            match self.below(7) {
                0 => Action::KillProcess,
                1 => Action::Trap,
                2 => Action::Errno(self.below(3) as u16),
                3 => Action::Log,
                4 => Action::Notify,
                _ => Action::Allow,
            }
        }

        fn rule(&mut self) -> Rule {
            let conditions = (0..self.below(4)).map(|_| self.condition()).collect();
            Rule { conditions, action: self.action() }
        }

        fn call(&mut self) -> Call {
            if self.below(6) == 0 {
                return self.alternatives();
            }
            let rules = if self.below(3) == 0 { self.below(6) } else { 0 };
            Call { rules: (0..rules).map(|_| self.rule()).collect(), otherwise: self.action() }
        }

        /// Rules that ask for one argument, often to do the same.
        fn alternatives(&mut self) -> Call {
            let (argument, width) = (self.condition().argument, self.condition().width);
            let actions = [self.action(), self.action()];
            let rules = (0..2 + self.below(5)).map(|_| Rule {
                conditions: vec![Condition { argument, width, comparison: self.comparison() }],
                action: actions[usize::from(self.below(4) == 0)],
            });
            let rules = rules.collect();
            Call { rules, otherwise: self.action() }
        }

        fn rules(&mut self) -> Rules {
            let highest = 1 + self.below(500);
            let calls =
                (0..self.below(300)).map(|_| (self.below(highest) as u32, self.call())).collect();
            let mut rules = Rules::native(ARCHITECTURES[self.below(3) as usize], calls);
            for abi in Abi::ALL {
                if abi.host() == rules.architecture && self.below(3) == 0 {
                    let bit = if abi == Abi::X32 { X32_BIT } else { 0 };
                    let calls = (0..self.below(200))
                        .map(|_| (self.below(highest) as u32 | bit, self.call()))
                        .collect();
                    rules.others.insert(abi, calls);
                }
            }
            rules
        }
    }

    fn rules(call: Call) -> Rules {
        Rules::native(Architecture::X86_64, BTreeMap::from([(1, call)]))
    }

    fn simulator(instructions: &[Instruction]) -> Simulator {
        let filter: Vec<u8> = instructions.iter().flat_map(|each| each.to_bytes()).collect();
        assert_eq!(validate(&filter), Ok(()));
        Simulator::new(&filter).expect("validated")
    }

    /// Every value at which a comparison of the call may change its mind,
    /// with and without the upper half.
    fn edges(call: &Call) -> Vec<u64> {
        let mut edges = vec![0, u64::MAX];
        for condition in call.rules.iter().flat_map(|rule| &rule.conditions) {
            let values = match condition.comparison {
                Comparison::MaskedEqual { mask, value } => vec![mask, value, value | !mask],
                ref other => {
                    let ranges = other.ranges().expect("no mask");
                    ranges.iter().flat_map(|range| [*range.start(), *range.end()]).collect()
                }
            };
            for value in values {
                let around = [value.wrapping_sub(1), value, value.wrapping_add(1)];
                edges.extend(around.map(|value| [value, value ^ 1 << 32]).as_flattened());
            }
        }
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    /// Compares filter and rules for a call, with every edge as each argument
    /// and in random combinations.
    fn compare(rules: &Rules, simulator: &Simulator, number: u32, random: &mut Random) {
        let native = [(tables::audit(rules.architecture), &rules.calls)];
        let x32 = rules.others.get(&Abi::X32).filter(|_| number & X32_BIT != 0);
        let native = native.map(|(audit, calls)| (audit, x32.unwrap_or(calls)));
        for (architecture, calls) in native.into_iter().chain(rules.foreign()) {
            compare_call(rules, simulator, architecture, number, calls.get(&number), random);
        }
    }

    fn compare_call(
        rules: &Rules,
        simulator: &Simulator,
        architecture: u32,
        number: u32,
        call: Option<&Call>,
        random: &mut Random,
    ) {
        let mut data = Data { number, architecture, instruction_pointer: 0, arguments: [0; 6] };
        let same = |data: &Data| {
            let expected = rules.decide(data).value();
            assert_eq!(simulator.run(data).value, expected, "{data:x?} {call:?}");
        };
        same(&data);
        let Some(call) = call.filter(|call| !call.rules.is_empty()) else { return };
        let edges = edges(call);
        for &edge in &edges {
            data.arguments = [edge; 6];
            same(&data);
        }
        for _ in 0..200 {
            data.arguments =
                std::array::from_fn(|_| edges[random.below(edges.len() as u64) as usize]);
            same(&data);
        }
    }

    /// All numbers that tables have, and the edges of those they do not.
    fn numbers() -> impl Iterator<Item = u32> {
        let around = |edge: u32| edge - 2..edge + 40;
        (0..=1024)
            .chain(around(1 << 30))
            .chain(around(1 << 31))
            .chain(around(3 << 30))
            .chain(u32::MAX - 40..=u32::MAX)
    }

    #[test]
    fn a_filter_decides_as_its_rules_do() {
        let mut random = Random(4);
        for _ in 0..400 {
            let rules = random.rules();
            let simulator = simulator(&compile(&rules));
            for number in numbers() {
                compare(&rules, &simulator, number, &mut random);
            }
        }
    }

    #[test]
    fn another_architecture_kills_whatever_the_call() {
        let mut random = Random(5);
        for _ in 0..20 {
            let rules = random.rules();
            let simulator = simulator(&compile(&rules));
            let native = tables::audit(rules.architecture);
            let known: Vec<u32> = rules.foreign().map(|(audit, _)| audit).collect();
            let foreign = [0, 0x4000_0003, native ^ 1, u32::MAX];
            for architecture in foreign.into_iter().filter(|audit| !known.contains(audit)) {
                for number in [0, 1, 59, 1024] {
                    let data =
                        Data { number, architecture, instruction_pointer: 0, arguments: [0; 6] };
                    assert_eq!(simulator.run(&data).value, Action::KillProcess.value());
                }
            }
        }
    }

    #[test]
    fn comparisons_reach_over_more_than_255_instructions() {
        let mut random = Random(6);
        let masked = |argument, value: u64| {
            Condition::int(argument, Comparison::MaskedEqual { mask: 0xffff_00ff, value })
        };
        // Each rule falls through to the next, and all share a far tail.
        let chain: Vec<Rule> = (0..300)
            .map(|value| Rule {
                conditions: vec![masked(Argument::First, value), masked(Argument::Second, 7)],
                action: if value % 2 == 0 { DENY } else { Action::Trap },
            })
            .collect();
        // A tree whose leaves are one block.
        let far = Rule {
            conditions: vec![
                Condition::long(
                    Argument::First,
                    Comparison::OneOf((0..600).map(|value| value * 3).collect()),
                ),
                masked(Argument::Second, 9),
            ],
            action: Action::Log,
        };
        let call = Call { rules: [vec![far], chain].concat(), otherwise: Action::Allow };
        let rules = rules(call);
        let instructions = compile(&rules);
        assert!(instructions.iter().any(|each| each.code == op::JUMP));
        let simulator = simulator(&instructions);
        compare(&rules, &simulator, 1, &mut random);
        for first in 0..2000 {
            for second in [0, 7, 9] {
                let data = Data {
                    number: 1,
                    architecture: tables::audit(Architecture::X86_64),
                    instruction_pointer: 0,
                    arguments: [first, second, 0, 0, 0, 0],
                };
                assert_eq!(simulator.run(&data).value, rules.decide(&data).value());
            }
        }
    }

    #[test]
    fn the_smallest_filter_checks_the_architecture_and_the_number() {
        let calls = BTreeMap::from([(1, Call::always(Action::Allow))]);
        let rules = Rules::native(Architecture::Aarch64, calls);
        let instruction = |code, jt, jf, k| Instruction { code, jt, jf, k };
        assert_eq!(
            compile(&rules),
            [
                instruction(op::LOAD, 0, 0, ARCHITECTURE),
                instruction(op::JUMP_EQUAL, 1, 0, 0xc000_00b7),
                instruction(op::RETURN, 0, 0, 0x8000_0000),
                instruction(op::LOAD, 0, 0, NUMBER),
                instruction(op::JUMP_EQUAL, 1, 0, 1),
                instruction(op::RETURN, 0, 0, 0x0005_0026),
                instruction(op::RETURN, 0, 0, 0x7fff_0000),
            ]
        );
    }

    #[test]
    fn a_word_is_loaded_once_for_many_comparisons() {
        let rule = |value| Rule {
            conditions: vec![Condition::int(Argument::First, Comparison::Equal(value))],
            action: DENY,
        };
        let call = Call { rules: [3, 9, 27].map(rule).to_vec(), otherwise: Action::Allow };
        let loads = compile(&rules(call));
        let word = ARGUMENTS;
        assert_eq!(loads.iter().filter(|each| (each.code, each.k) == (op::LOAD, word)).count(), 1);
    }

    #[test]
    fn rules_that_do_the_same_for_one_argument_are_one_question() {
        let rule = |value| Rule {
            conditions: vec![Condition::long(Argument::First, Comparison::Equal(value))],
            action: DENY,
        };
        let one = Comparison::OneOf(vec![3, 4, 9, 27]);
        let one = Rule { conditions: vec![Condition::long(Argument::First, one)], action: DENY };
        let call = |rules| Call { rules, otherwise: Action::Allow };
        assert_eq!(
            compile(&rules(call([27, 3, 9, 4].map(rule).to_vec()))),
            compile(&rules(call(vec![one])))
        );
    }

    #[test]
    fn equal_numbers_cost_one_range_and_equal_actions_one_return() {
        let calls = (0..400).map(|number| (number, Call::always(Action::Allow))).collect();
        let merged = compile(&Rules::native(Architecture::Aarch64, calls));
        assert_eq!(merged.len(), 7);
        let alternating = (0..400)
            .map(|number| {
                (number, Call::always(if number % 2 == 0 { DENY } else { Action::Allow }))
            })
            .collect();
        let tree = compile(&Rules::native(Architecture::Aarch64, alternating));
        // 400 comparisons at most, and a copy of a return within reach.
        assert!(tree.len() <= 420, "{}", tree.len());
    }

    #[test]
    fn a_tree_of_450_ranges_is_nine_comparisons_deep() {
        let calls: BTreeMap<u32, Call> = (0..450)
            .map(|number| (number, Call::always(Action::Errno(1 + (number % 3) as u16))))
            .collect();
        let rules = Rules::native(Architecture::X86_64, calls);
        let simulator = simulator(&compile(&rules));
        let architecture = tables::audit(Architecture::X86_64);
        for number in numbers() {
            let data = Data { number, architecture, instruction_pointer: 0, arguments: [0; 6] };
            // Two loads, the architecture, the tree, the return.
            assert!(simulator.run(&data).executed <= 3 + 9 + 1);
        }
    }
}
