//! Numbers and strings in the code of a pickle.

use super::machine::Machine;
use super::{MAX_NAME, Value, clip};

impl Machine<'_> {
    /// Reads the length before a string: one byte for opcode `short`, four for `long`, else eight.
    pub(super) fn length(&mut self, opcode: u8, short: u8, long: u8) -> Result<usize, String> {
        let length = match opcode {
            _ if opcode == short => self.byte()?.into(),
            _ if opcode == long => u32::from_le_bytes(self.array()?).into(),
            _ => u64::from_le_bytes(self.array()?),
        };
        usize::try_from(length).map_err(|_| format!("a string of {length} bytes"))
    }

    pub(super) fn protocol(&mut self) -> Result<(), String> {
        match self.byte()? {
            2..=5 => Ok(()),
            other => Err(format!("pickle protocol {other}, expected 2 to 5")),
        }
    }

    pub(super) fn long(&mut self, length: usize) -> Result<(), String> {
        let bytes = self.take(length)?;
        // Such as the state of a random-number generator.
        if length > 16 {
            return self.push(Value::Other);
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut whole = [if negative { 0xff } else { 0 }; 16];
        whole[..length].copy_from_slice(bytes);
        self.push(Value::Int(i128::from_le_bytes(whole)))
    }

    /// Reads an integer as a line of digits, which may end in L. `00` and `01` are booleans.
    pub(super) fn decimal(&mut self) -> Result<(), String> {
        let line = self.line()?;
        let value = match line {
            "00" => Value::Bool(false),
            "01" => Value::Bool(true),
            line => {
                let digits = line.strip_suffix('L').unwrap_or(line);
                let magnitude = digits.strip_prefix('-').unwrap_or(digits);
                let is_number = !magnitude.is_empty() && magnitude.bytes().all(|byte| byte.is_ascii_digit());
                match digits.parse() {
                    Ok(value) => Value::Int(value),
                    Err(_) if is_number => Value::Other,
                    Err(_) => return Err(format!("{} is no integer", clip(line))),
                }
            }
        };
        self.push(value)
    }
}

/// A string of Python 2, which may be text or bytes. It is text, in latin-1, unless it is too long for a name and is not
/// ASCII.
pub(super) fn python2_string(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.is_ascii() => Value::Text(text.to_owned()),
        _ if bytes.len() > MAX_NAME => Value::Bytes(bytes.to_vec()),
        _ => Value::Text(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}
