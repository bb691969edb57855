// A starting point for an agent in Rust: the best capture next to own land, else the largest army to the enemy.
// It speaks the line protocol of the competition and needs the standard library only. Change choose().
use std::collections::VecDeque;
use std::io::{self, BufRead, Write};

const STEPS: [(i32, i32); 4] = [(-1, 0), (1, 0), (0, -1), (0, 1)]; // up, down, left, right
const MOUNTAIN: i32 = 2; // kinds: 0 fog, 1 plain, 2 mountain, 3 castle, 4 general, 5 mountain or castle in fog
const CASTLE: i32 = 3;
const GENERAL: i32 = 4;
const FOG_OBSTACLE: i32 = 5;
const NEUTRAL: i32 = 0; // owners: 0 neutral, 1 own, 2 enemy
const OWN: i32 = 1;

struct Board {
    height: i32,
    width: i32,
    kind: Vec<i32>,
    owner: Vec<i32>,
    army: Vec<i32>,
}

impl Board {
    /// The tile next to another one, if it is on the board.
    fn next(&self, tile: usize, direction: usize) -> Option<usize> {
        let row = tile as i32 / self.width + STEPS[direction].0;
        let column = tile as i32 % self.width + STEPS[direction].1;
        let inside = row >= 0 && row < self.height && column >= 0 && column < self.width;
        inside.then(|| (row * self.width + column) as usize)
    }

    /// Pass, row, column, direction, split: 0 moves, 1 skips, 2 builds a castle.
    fn step(&self, tile: usize, direction: usize) -> [i32; 5] {
        [0, tile as i32 / self.width, tile as i32 % self.width, direction as i32, 0]
    }

    /// The first step of the shortest way over own land from a tile to the enemy, else to neutral land.
    fn walk(&self, start: usize) -> Option<[i32; 5]> {
        let mut first: Vec<Option<usize>> = vec![None; self.kind.len()];
        let mut waiting = VecDeque::from([start]);
        let mut nearest = None;
        while let Some(tile) = waiting.pop_front() {
            for direction in 0..4 {
                let target = match self.next(tile, direction) {
                    Some(target) if target != start && first[target].is_none() => target,
                    _ => continue,
                };
                if self.kind[target] == MOUNTAIN || self.kind[target] == FOG_OBSTACLE {
                    continue;
                }
                let origin = if tile == start { direction } else { first[tile].unwrap_or(direction) };
                first[target] = Some(origin);
                if self.owner[target] == OWN {
                    waiting.push_back(target);
                } else if self.owner[target] == NEUTRAL {
                    nearest = nearest.or_else(|| Some(self.step(start, origin)));
                } else {
                    return Some(self.step(start, origin));
                }
            }
        }
        nearest
    }

    fn choose(&self) -> [i32; 5] {
        let mut best = (0, 0); // value, army
        let mut reply = None;
        let mut strongest: Option<usize> = None;
        for tile in 0..self.kind.len() {
            if self.owner[tile] != OWN || self.army[tile] < 2 {
                continue;
            }
            if strongest.map_or(true, |other| self.army[tile] > self.army[other]) {
                strongest = Some(tile);
            }
            for direction in 0..4 {
                let target = match self.next(tile, direction) {
                    Some(target) if self.kind[target] != MOUNTAIN && self.owner[target] != OWN => target,
                    _ => continue,
                };
                if self.army[tile] - 1 <= self.army[target] {
                    continue;
                }
                let built = self.kind[target] == CASTLE || self.kind[target] == GENERAL;
                let value = if self.owner[target] == NEUTRAL { 1 } else if built { 3 } else { 2 };
                let value = (value, self.army[tile]);
                if value > best {
                    best = value;
                    reply = Some(self.step(tile, direction));
                }
            }
        }
        reply.or_else(|| strongest.and_then(|tile| self.walk(tile))).unwrap_or([1, 0, 0, 0, 0])
    }
}

/// The numbers of some lines, None at the end of the input.
fn read(input: &mut impl BufRead, lines: usize) -> Option<Vec<i32>> {
    let mut text = String::new();
    for _ in 0..lines {
        if input.read_line(&mut text).ok()? == 0 {
            return None;
        }
    }
    text.split_whitespace().map(|word| word.parse().ok()).collect()
}

fn main() {
    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    let (height, width) = match read(&mut input, 1).as_deref() {
        Some([_, height, width]) => (*height, *width),
        _ => return,
    };
    let rows = height as usize;
    // A frame begins with time, own land and army, the other's land and army.
    while read(&mut input, 1).is_some() {
        let (kind, owner, army) = match (read(&mut input, rows), read(&mut input, rows), read(&mut input, rows)) {
            (Some(kind), Some(owner), Some(army)) => (kind, owner, army),
            _ => return,
        };
        let reply = Board { height, width, kind, owner, army }.choose();
        let words: Vec<String> = reply.iter().map(|number| number.to_string()).collect();
        if writeln!(output, "{}", words.join(" ")).and_then(|_| output.flush()).is_err() {
            return;
        }
    }
}
