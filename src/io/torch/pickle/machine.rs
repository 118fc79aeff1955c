//! The stack machine: its instructions, and the bounds on the values that they build.

use std::collections::HashMap;

use super::literals::python2_string;
use super::{Id, Limits, MAX_NAME, Value};

/// An entry of the stack.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    Mark,
    Value(Id),
}

/// The maximum number of items in all sequences and dictionaries, as a multiple of [`Limits::values`].
const ITEMS: usize = 4;

/// Whether an instruction pushes `None`, a boolean, an integer or a binary float, or begins a frame.
fn is_plain(opcode: u8) -> bool {
    matches!(opcode, b'N' | 0x88 | 0x89 | b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G' | 0x95)
}

/// Whether an instruction adds the values on the top of the stack to a list or a dictionary.
fn adds_items(opcode: u8) -> bool {
    matches!(opcode, b'a' | b'e' | 0x90 | b's' | b'u')
}

/// The state of the interpreter.
pub(super) struct Machine<'a> {
    code: &'a [u8],
    /// The position of the next byte.
    pub(super) at: usize,
    pub(super) values: Vec<Value>,
    stack: Vec<Item>,
    memo: HashMap<u32, Id>,
    /// The number of characters and items copied between values.
    copied: usize,
    /// The number of items that sequences and dictionaries refer to.
    kept: usize,
    /// The first of the values that the last instructions pushed. All of these are plain, and only the stack refers to
    /// them.
    fresh: Id,
    limits: Limits,
}

impl<'a> Machine<'a> {
    pub(super) fn new(code: &'a [u8], limits: Limits) -> Self {
        let (values, stack, memo) = (Vec::new(), Vec::new(), HashMap::new());
        Self { code, at: 0, values, stack, memo, copied: 0, kept: 0, fresh: 0, limits }
    }

    /// Runs to the end; returns the value that the pickle represents.
    pub(super) fn run(&mut self) -> Result<Id, String> {
        loop {
            let opcode = self.byte()?;
            if !is_plain(opcode) && !adds_items(opcode) {
                self.fresh = self.values.len();
            }
            match opcode {
                b'.' => return self.pop(),
                // PROTO, FRAME
                0x80 => self.protocol()?,
                0x95 => drop(self.take(8)?),
                // NONE, NEWTRUE, NEWFALSE
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                // INT and LONG, of protocol 1; BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
                b'I' | b'L' => self.decimal()?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'K' => {
                    let value = self.byte()?;
                    self.push(Value::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                0x8a => {
                    let length = self.byte()?;
                    self.long(length.into())?;
                }
                0x8b => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.long(length as usize)?;
                }
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.push(Value::Float(value))?;
                }
                // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
                0x8c | b'X' | 0x8d => {
                    let length = self.length(opcode, 0x8c, b'X')?;
                    let text =
                        std::str::from_utf8(self.take(length)?).map_err(|_| "a string is not UTF-8")?;
                    self.push(Value::Text(text.to_owned()))?;
                }
                // SHORT_BINSTRING, BINSTRING
                b'U' | b'T' => {
                    let length = self.length(opcode, b'U', b'T')?;
                    let string = python2_string(self.take(length)?);
                    self.push(string)?;
                }
                // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
                b'C' | b'B' | 0x8e | 0x96 => {
                    let length = self.length(opcode, b'C', b'B')?;
                    let bytes = self.take(length)?.to_vec();
                    self.push(Value::Bytes(bytes))?;
                }
                // MARK, EMPTY_TUPLE, TUPLE1-3, TUPLE, EMPTY_LIST, EMPTY_SET, FROZENSET
                b'(' => self.put(Item::Mark)?,
                b')' | b']' | 0x8f => self.push(Value::Sequence(Vec::new()))?,
                0x85..=0x87 => {
                    let mut items = (0x85..=opcode).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                    items.reverse();
                    self.push(Value::Sequence(items))?;
                }
                b't' | 0x91 | b'l' => {
                    let items = self.marked()?;
                    self.keep(items.len())?;
                    self.push(Value::Sequence(items))?;
                }
                // APPEND, APPENDS, ADDITEMS
                b'a' => {
                    let item = self.pop()?;
                    self.extend(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.marked()?;
                    self.extend(&items)?;
                }
                // EMPTY_DICT, DICT, SETITEM, SETITEMS
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b'd' => {
                    let items = self.marked()?;
                    self.push(Value::Dict(Vec::new()))?;
                    self.insert(&items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.insert(&[key, value])?;
                }
                b'u' => {
                    let items = self.marked()?;
                    self.insert(&items)?;
                }
                // POP, POP_MARK, DUP
                b'0' => drop(self.stack.pop().ok_or("the stack is empty")?),
                b'1' => drop(self.marked()?),
                b'2' => {
                    let top = self.top()?;
                    self.put(Item::Value(top))?;
                }
                // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
                b'q' => {
                    let index = self.byte()?;
                    self.memoize(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.memoize(index)?;
                }
                0x94 => self.memoize(self.memo.len() as u32)?,
                b'h' => {
                    let index = self.byte()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.recall(index)?;
                }
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(format!("{module}.{name}")))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (name, module) = (self.text(name)?, self.text(module)?);
                    self.push(Value::Global(format!("{module}.{name}")))?;
                }
                // REDUCE, NEWOBJ, NEWOBJ_EX, INST, OBJ, EXT1-4, BUILD, BINPERSID
                b'R' | 0x81 => {
                    let arguments = self.pop()?;
                    let function = self.pop()?;
                    let value = self.call(function, arguments)?;
                    self.place(value)?;
                }
                0x92 => {
                    let (_keywords, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                    let value = self.object(class, arguments)?;
                    self.place(value)?;
                }
                b'i' => {
                    let class = Value::Global(format!("{}.{}", self.line()?, self.line()?));
                    let (class, arguments) = (self.add(class)?, self.marked()?);
                    self.instance(class, arguments)?;
                }
                b'o' => {
                    let mut arguments = self.marked()?;
                    if arguments.is_empty() {
                        return Err("an object without a class".into());
                    }
                    let class = arguments.remove(0);
                    self.instance(class, arguments)?;
                }
                0x82..=0x84 => {
                    let mut code = [0; 4];
                    let bytes = self.take(1 << (opcode - 0x82))?;
                    code[..bytes.len()].copy_from_slice(bytes);
                    let class = Value::Global(format!("copyreg extension {}", u32::from_le_bytes(code)));
                    let class = self.add(class)?;
                    self.instance(class, Vec::new())?;
                }
                b'b' => self.build()?,
                b'Q' => {
                    let id = self.pop()?;
                    let value = self.persistent(id)?;
                    self.push(value)?;
                }
                other => {
                    return Err(format!(
                        "instruction {other:#04x}, which a state dict does not need; refused"
                    ));
                }
            }
            if !is_plain(opcode) {
                self.fresh = self.values.len();
            }
        }
    }

    /// Drops the plain values that the last instructions pushed; nothing refers to them any more.
    fn forget(&mut self) {
        self.values.truncate(self.fresh);
    }

    /// Counts items that a sequence or a dictionary refers to.
    fn keep(&mut self, items: usize) -> Result<(), String> {
        self.kept += items;
        let most = ITEMS * self.limits.values;
        if self.kept > most {
            return Err(format!("the pickle's lists and dictionaries have more than {most} items"));
        }
        Ok(())
    }

    /// Counts a copy: through the memo, every instruction could copy a long value.
    pub(super) fn charge(&mut self, items: usize) -> Result<(), String> {
        self.copied = self.copied.saturating_add(items);
        if self.copied > 4 * self.code.len() {
            return Err("copies its own values over and over; refused".into());
        }
        Ok(())
    }

    pub(super) fn push(&mut self, value: Value) -> Result<(), String> {
        let id = self.add(value)?;
        self.put(Item::Value(id))
    }

    pub(super) fn add(&mut self, value: Value) -> Result<Id, String> {
        if self.values.len() == self.limits.values {
            return Err(format!("the pickle has more than {} values", self.limits.values));
        }
        self.values.push(value);
        Ok(self.values.len() - 1)
    }

    fn put(&mut self, item: Item) -> Result<(), String> {
        if self.stack.len() == self.limits.values {
            return Err(format!("the pickle's stack has more than {} values", self.limits.values));
        }
        self.stack.push(item);
        Ok(())
    }

    pub(super) fn place(&mut self, id: Id) -> Result<(), String> {
        self.put(Item::Value(id))
    }

    pub(super) fn pop(&mut self) -> Result<Id, String> {
        match self.stack.pop() {
            Some(Item::Value(id)) => Ok(id),
            Some(Item::Mark) => Err("a mark where a value is expected".into()),
            None => Err("the stack is empty".into()),
        }
    }

    pub(super) fn top(&self) -> Result<Id, String> {
        match self.stack.last() {
            Some(&Item::Value(id)) => Ok(id),
            _ => Err("there is no value on the stack".into()),
        }
    }

    /// Pops the values above the last mark, and the mark.
    fn marked(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.stack.iter().rposition(|&item| item == Item::Mark).ok_or("there is no mark")?;
        let items = self.stack.split_off(mark);
        let ids = items.into_iter().filter_map(|item| match item {
            Item::Value(id) => Some(id),
            Item::Mark => None,
        });
        Ok(ids.collect())
    }

    pub(super) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.code[self.at..];
        let Some(taken) = rest.get(..count) else {
            self.at = self.code.len();
            return Err(format!("the pickle ends where {count} bytes are expected"));
        };
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    pub(super) fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.code[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("a name has no end")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a name is not UTF-8".into())
    }

    fn memoize(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(index, top);
        if self.memo.len() > self.limits.values {
            return Err(format!("the pickle's memo has more than {} entries", self.limits.values));
        }
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let &id = self.memo.get(&index).ok_or_else(|| format!("the memo has no entry {index}"))?;
        self.put(Item::Value(id))?;
        Ok(())
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), String> {
        let list = self.top()?;
        let is_fresh = items.iter().all(|&item| item >= self.fresh);
        match &mut self.values[list] {
            // A long list of plain numbers, such as the losses of all steps, keeps no more of them.
            Value::Sequence(list) if is_fresh && list.len() >= self.limits.numbers => self.forget(),
            Value::Sequence(list) => {
                list.extend(items);
                self.keep(items.len())?;
            }
            // The items of an opaque kind of list are not kept.
            Value::Object(_) if is_fresh => self.forget(),
            Value::Object(_) => {}
            _ => return Err("appends to a value that is not a list".into()),
        }
        Ok(())
    }

    /// Adds alternating keys and values to the dictionary on the stack.
    fn insert(&mut self, items: &[Id]) -> Result<(), String> {
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        for [key, _] in pairs {
            self.name(*key)?;
        }
        let is_fresh = items.iter().all(|&item| item >= self.fresh);
        let entries = match &mut self.values[dict] {
            Value::Dict(_) | Value::Object(_) if !rest.is_empty() => {
                return Err("a key without a value".into());
            }
            Value::Dict(entries) => entries,
            Value::Object(object) => &mut object.items,
            _ => return Err("sets items of a value that is not a dictionary".into()),
        };
        if is_fresh && entries.len() >= self.limits.numbers {
            self.forget();
            return Ok(());
        }
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        self.keep(items.len())
    }

    /// Counts a key, because every traversal of the dictionary reads it.
    pub(super) fn name(&mut self, key: Id) -> Result<(), String> {
        let length = match &self.values[key] {
            Value::Text(key) => key.len(),
            _ => 0,
        };
        if length > MAX_NAME {
            return Err(format!("a name of {length} bytes, expected at most {MAX_NAME}"));
        }
        self.charge(length)
    }

    /// Copies a string.
    pub(super) fn text(&mut self, id: Id) -> Result<String, String> {
        let length = match &self.values[id] {
            Value::Text(text) => text.len(),
            _ => return Err("expected a string".into()),
        };
        self.charge(length)?;
        match &self.values[id] {
            Value::Text(text) => Ok(text.clone()),
            _ => unreachable!("it was a string"),
        }
    }

    pub(super) fn sequence(&self, id: Id) -> Result<&[Id], String> {
        match &self.values[id] {
            Value::Sequence(items) => Ok(items),
            _ => Err("expected a tuple".into()),
        }
    }
}
