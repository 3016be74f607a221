//! Compiles policies for the kernel: a classic BPF program that searches the number of the system
//! call in a tree.
//!
//! On installation the kernel runs a new filter once for every system call that the earlier filters
//! always allow, to learn which calls it need not check. So a job's filter is installed faster if
//! the way through it is shorter.

use libc::sock_filter;

use super::{
    constants::OWN_PID,
    policy::{Action, Condition, Rule, Rules},
};

/// `AUDIT_ARCH_*` of linux/audit.h for the target machine.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
/// `AUDIT_ARCH_*` of linux/audit.h for the target machine.
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data` of linux/seccomp.h, on little-endian machines.
mod offset {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCHITECTURE: u32 = 4;

    pub(super) fn lower(argument: u8) -> u32 {
        16 + 8 * u32::from(argument)
    }

    pub(super) fn upper(argument: u8) -> u32 {
        lower(argument) + 4
    }
}

/// A filter, ready to be installed.
#[derive(Clone, Debug)]
pub struct Program {
    code: Vec<sock_filter>,
    /// Indexes of the instructions that hold the job's own process id.
    own_pid: Vec<usize>,
}

/// The treatment of calls that the rules do not mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// They are violations. The same holds for every call of another architecture, whose numbers
    /// mean other calls.
    Forbidden,
    /// The filters installed before decide.
    AsBefore,
}

impl Program {
    pub(super) fn new(rules: &Rules, others: Others) -> Self {
        let (default, mut code) = match others {
            Others::AsBefore => (Action::Allow, Vec::new()),
            Others::Forbidden => {
                let check = [
                    load(offset::ARCHITECTURE),
                    jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
                    give(libc::SECCOMP_RET_KILL_PROCESS),
                ];
                (Action::Trap, check.to_vec())
            }
        };
        code.push(load(offset::NUMBER));
        code.extend(search(&ranges(rules, default)));
        let is_own_pid = |insn: &sock_filter| is_jump(insn.code) && insn.k == OWN_PID;
        let own_pid = (0..code.len()).filter(|i| is_own_pid(&code[*i])).collect();
        Self { code, own_pid }
    }

    /// Fill in the process id of the job that is about to install this filter.
    pub(super) fn set_own_pid(&mut self, pid: u32) {
        for index in &self.own_pid {
            if let Some(instruction) = self.code.get_mut(*index) {
                instruction.k = pid;
            }
        }
    }

    /// Instructions for the kernel.
    pub(super) fn code(&self) -> &[sock_filter] {
        &self.code
    }
}

/// A range of consecutive system calls with the same treatment. It ends where the next range
/// begins.
struct Range {
    first: u32,
    code: Vec<sock_filter>,
}

/// All numbers from 0, divided into ranges.
fn ranges(rules: &Rules, default: Action) -> Vec<Range> {
    // A single instruction gives the same answer for all arguments.
    let plain = |code: &[sock_filter]| match code {
        [only] => Some(only.k),
        _ => None,
    };
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |first: u32, code: Vec<sock_filter>| match ranges.last_mut() {
        Some(last) if plain(&code).is_some() && plain(&last.code) == plain(&code) => {}
        Some(last) if last.first == first => last.code = code,
        _ => ranges.push(Range { first, code }),
    };
    add(0, vec![give_action(default)]);
    for (call, rules) in rules {
        add(*call, choose(rules));
        add(call + 1, vec![give_action(default)]);
    }
    ranges
}

/// Code that finds the range of the number in the accumulator.
fn search(ranges: &[Range]) -> Vec<sock_filter> {
    let (left, right) = match ranges {
        [] => return Vec::new(),
        [one] => return one.code.clone(),
        _ => ranges.split_at(ranges.len() / 2),
    };
    let border = right.first().map_or(0, |range| range.first);
    let left = search(left);
    let mut code = match u8::try_from(left.len()) {
        Ok(length) => vec![jump(libc::BPF_JGE, border, length, 0)],
        // The distance is too long for a conditional jump.
        Err(_) => vec![jump(libc::BPF_JGE, border, 0, 1), skip(left.len())],
    };
    code.extend(left);
    code.extend(search(right));
    code
}

/// Code in which the first matching rule decides. If none matches, the call is a violation.
fn choose(rules: &[Rule]) -> Vec<sock_filter> {
    let mut code = vec![give_action(Action::Trap)];
    for rule in rules.iter().rev() {
        let mut this = vec![give_action(rule.action)];
        for condition in rule.conditions.iter().rev() {
            let mut test = test(condition, this.len());
            test.append(&mut this);
            this = test;
        }
        if rule.conditions.is_empty() {
            // Code behind it cannot be reached.
            code.clear();
        }
        this.append(&mut code);
        code = this;
    }
    code
}

/// Code that continues behind the test if the condition holds, and otherwise skips `rest` more
/// instructions.
fn test(condition: &Condition, rest: usize) -> Vec<sock_filter> {
    let mut code = Vec::new();
    let lower = condition.values.len() + 1 + usize::from(condition.mask.is_some());
    // A mask has 32 bits, so it hides the upper half.
    if condition.wide && condition.mask.is_none() {
        code.push(load(offset::upper(condition.argument)));
        code.push(jump(libc::BPF_JEQ, 0, 0, near(lower + rest)));
    }
    code.push(load(offset::lower(condition.argument)));
    if let Some(mask) = condition.mask {
        code.push(instruction(
            libc::BPF_ALU | libc::BPF_AND | libc::BPF_K,
            mask,
        ));
    }
    let last = condition.values.len().saturating_sub(1);
    for (index, value) in condition.values.iter().enumerate() {
        let others = last - index;
        let (hit, miss) = match (condition.equal, others) {
            (true, 0) => (0, near(rest)),
            (true, _) => (near(others), 0),
            (false, _) => (near(others + rest), 0),
        };
        code.push(jump(libc::BPF_JEQ, *value, hit, miss));
    }
    code
}

/// A jump within one call's conditions, which take about ten instructions; a policy that needs more
/// fails its test.
fn near(distance: usize) -> u8 {
    u8::try_from(distance).unwrap_or(u8::MAX)
}

fn give_action(action: Action) -> sock_filter {
    give(match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
        Action::Trap => libc::SECCOMP_RET_TRAP,
    })
}

fn give(value: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, value)
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn skip(count: usize) -> sock_filter {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    instruction(libc::BPF_JMP | libc::BPF_JA, count)
}

fn jump(kind: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        jt,
        jf,
        ..instruction(libc::BPF_JMP | kind | libc::BPF_K, k)
    }
}

fn is_jump(code: u16) -> bool {
    u32::from(code) & 0x07 == libc::BPF_JMP
}

fn instruction(code: u32, k: u32) -> sock_filter {
    sock_filter {
        // The kernel's codes have at most 8 bits.
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: 0,
        jf: 0,
        k,
    }
}
