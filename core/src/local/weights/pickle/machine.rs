//! The opcodes of Python's pickles that a state dict consists of: those that torch's own `weights_only` reader knows.
//!
//! Objects lie in one list and refer to each other by number, as Python's do by pointer: an object that contains
//! itself costs nothing, and nothing here recurses. Every object and every place on the stack is paid for by at least one
//! byte of the pickle.

use super::PickleError;
use super::state_dict::TensorView;

/// The longest pickle: a state dict of 80,000 tensors.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// The most objects: 25 for each of those tensors.
const MAX_OBJECTS: usize = 2 << 20;

/// The most marks that are open at once: each is one container inside another.
const MAX_MARKS: usize = 1000;

/// The number of an object.
pub(super) type Id = u32;

/// What a pickle can make.
#[derive(Debug)]
pub(super) enum Object<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, or a floating-point number.
    Number,
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(TensorView<'a>),
}

/// What a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch.Size`.
    Size,
    /// `torch._utils._rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `torch.FloatStorage` and its like.
    StorageType(Element),
}

/// The numbers of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// As torch calls the storage, without `Storage`.
    pub(super) name: &'static str,
    pub(super) bytes: usize,
}

const ELEMENTS: [Element; 12] = [
    Element { name: "Float", bytes: 4 },
    Element { name: "Half", bytes: 2 },
    Element { name: "BFloat16", bytes: 2 },
    Element { name: "Double", bytes: 8 },
    Element { name: "Long", bytes: 8 },
    Element { name: "Int", bytes: 4 },
    Element { name: "Short", bytes: 2 },
    Element { name: "Char", bytes: 1 },
    Element { name: "Byte", bytes: 1 },
    Element { name: "Bool", bytes: 1 },
    Element { name: "ComplexFloat", bytes: 8 },
    Element { name: "ComplexDouble", bytes: 16 },
];

/// A storage, by what the pickle says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) element: Element,
    /// How many numbers it has.
    pub(super) count: usize,
}

impl Global {
    fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", name) => {
                let name = name.strip_suffix("Storage")?;
                Self::StorageType(*ELEMENTS.iter().find(|element| element.name == name)?)
            }
            _ => return None,
        })
    }
}

/// A pickle while it is read.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Where on the stack the open marks are.
    marks: Vec<usize>,
    memo: std::collections::HashMap<u32, Id>,
}

type Done<T = ()> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    /// Reads the pickle at the beginning of `bytes`; says which object it is and where it ends.
    pub(super) fn run(bytes: &'a [u8]) -> Done<(Self, Id, usize)> {
        // What follows the pickle is not its own.
        let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
        let mut machine = Self {
            bytes,
            position: 0,
            objects: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: std::collections::HashMap::new(),
        };
        loop {
            let opcode = machine.byte()?;
            if opcode == b'.' {
                let root = machine.pop("a result")?;
                let end = machine.position;
                return Ok((machine, root, end));
            }
            machine.step(opcode)?;
        }
    }

    /// An object by its number.
    pub(super) fn object(&self, id: Id) -> &Object<'a> {
        self.objects.get(id as usize).unwrap_or(&Object::None)
    }

    /// The storages that it describes.
    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    fn step(&mut self, opcode: u8) -> Done {
        match opcode {
            // PROTO
            0x80 => self.byte().map(drop),
            // GLOBAL
            b'c' => self.global(),
            b'(' if self.marks.len() >= MAX_MARKS => Err(PickleError::Objects(MAX_MARKS)),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'N' => self.push(Object::None),
            0x88 | 0x89 => self.push(Object::Bool(opcode == 0x88)),
            b'J' | b'K' | b'M' | 0x8a | b'G' => self.number(opcode),
            b'X' | b'U' => self.text(opcode),
            b')' => self.push(Object::Tuple(Vec::new())),
            b']' => self.push(Object::List(Vec::new())),
            b'}' => self.push(Object::Dict(Vec::new())),
            // TUPLE, TUPLE1 to TUPLE3
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Object::Tuple(items))
            }
            0x85..=0x87 => {
                let start = self.below_top(usize::from(opcode - 0x84))?;
                let items = self.stack.split_off(start);
                self.push(Object::Tuple(items))
            }
            b'a' | b'e' | b's' | b'u' => self.add_items(opcode),
            b'b' => self.build(),
            b'R' | 0x81 => self.call(),
            b'Q' => self.persistent(),
            b'q' | b'r' | b'h' | b'j' => self.memo(opcode),
            other => Err(PickleError::Opcode(other)),
        }
    }

    fn byte(&mut self) -> Done<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Done<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| PickleError::CutOff)
    }

    fn take(&mut self, length: usize) -> Done<&'a [u8]> {
        let end = self.position.checked_add(length).ok_or(PickleError::CutOff)?;
        let taken = self.bytes.get(self.position..end).ok_or(match self.bytes.len() {
            MAX_BYTES => PickleError::TooLong(end),
            _ => PickleError::CutOff,
        })?;
        self.position = end;
        Ok(taken)
    }

    fn push(&mut self, object: Object<'a>) -> Done {
        if self.objects.len() >= MAX_OBJECTS {
            return Err(PickleError::Objects(MAX_OBJECTS));
        }
        let id = Id::try_from(self.objects.len()).map_err(|_| PickleError::Objects(MAX_OBJECTS))?;
        self.objects.push(object);
        self.stack.push(id);
        Ok(())
    }

    /// Where the topmost `count` objects begin; a mark is not stepped over.
    fn below_top(&self, count: usize) -> Done<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= floor);
        start.ok_or(PickleError::Stack("an object"))
    }

    fn pop(&mut self, what: &'static str) -> Done<Id> {
        self.below_top(1).map_err(|_| PickleError::Stack(what))?;
        self.stack.pop().ok_or(PickleError::Stack(what))
    }

    fn pop_to_mark(&mut self) -> Done<Vec<Id>> {
        let mark = self.marks.pop().ok_or(PickleError::Stack("a mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn line(&mut self) -> Done<&'a str> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).ok_or(PickleError::CutOff)?;
        let line = self.take(length + 1)?;
        std::str::from_utf8(line.get(..length).unwrap_or_default()).map_err(|_| PickleError::Text)
    }

    fn global(&mut self) -> Done {
        let (module, name) = (self.line()?, self.line()?);
        let shown = || format!("{module}.{name}").chars().take(100).collect();
        let global = Global::of(module, name).ok_or_else(|| PickleError::Global(shown()))?;
        self.push(Object::Global(global))
    }

    /// BININT, BININT1, BININT2, LONG1, BINFLOAT.
    fn number(&mut self, opcode: u8) -> Done {
        let number = match opcode {
            b'J' => i64::from(i32::from_le_bytes(self.array()?)),
            b'K' => i64::from(self.byte()?),
            b'M' => i64::from(u16::from_le_bytes(self.array()?)),
            b'G' => {
                self.array::<8>()?;
                return self.push(Object::Number);
            }
            _ => {
                let length = self.byte()?;
                let bytes = self.take(usize::from(length))?;
                let mut wide = [bytes.last().map_or(0, |last| if last & 0x80 == 0 { 0 } else { 0xff }); 8];
                match wide.get_mut(..bytes.len()) {
                    Some(start) => start.copy_from_slice(bytes),
                    None => return self.push(Object::Number),
                }
                i64::from_le_bytes(wide)
            }
        };
        self.push(Object::Int(number))
    }

    /// BINUNICODE, SHORT_BINSTRING.
    fn text(&mut self, opcode: u8) -> Done {
        let length = match opcode {
            b'X' => u32::from_le_bytes(self.array()?),
            _ => u32::from(self.byte()?),
        };
        let bytes = self.take(usize::try_from(length).map_err(|_| PickleError::CutOff)?)?;
        self.push(Object::Text(std::str::from_utf8(bytes).map_err(|_| PickleError::Text)?))
    }

    /// APPEND, APPENDS, SETITEM, SETITEMS.
    fn add_items(&mut self, opcode: u8) -> Done {
        let items = match opcode {
            b'a' | b's' => {
                let start = self.below_top(if opcode == b'a' { 1 } else { 2 })?;
                self.stack.split_off(start)
            }
            _ => self.pop_to_mark()?,
        };
        let container = *self.stack.last().ok_or(PickleError::Stack("a list or a dict"))?;
        match (self.objects.get_mut(container as usize), opcode) {
            (Some(Object::List(list)), b'a' | b'e') => list.extend(items),
            (Some(Object::Dict(dict)), b's' | b'u') if items.len().is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err(PickleError::Arguments("append or setitem")),
        }
        Ok(())
    }

    /// BUILD: the attributes of a dict, such as `_metadata`, which are of no use here.
    fn build(&mut self) -> Done {
        self.pop("a state")?;
        let of = *self.stack.last().ok_or(PickleError::Stack("an object"))?;
        match self.object(of) {
            Object::Dict(_) => Ok(()),
            _ => Err(PickleError::Arguments("__setstate__")),
        }
    }

    /// REDUCE and NEWOBJ: a call of one of the globals.
    fn call(&mut self) -> Done {
        let (arguments, callee) = (self.pop("arguments")?, self.pop("a callable")?);
        let Object::Tuple(arguments) = self.object(arguments) else {
            return Err(PickleError::Arguments("a callable"));
        };
        match (self.object(callee), arguments.as_slice()) {
            (Object::Global(Global::OrderedDict), []) => self.push(Object::Dict(Vec::new())),
            (Object::Global(Global::Size), [sizes]) => {
                let sizes = *sizes;
                self.stack.push(sizes);
                Ok(())
            }
            (Object::Global(Global::RebuildTensor), [storage, offset, shape, strides, ..]) => {
                let wrong = PickleError::Arguments("_rebuild_tensor_v2");
                let view = TensorView::of(self, *storage, *offset, *shape, *strides).ok_or(wrong)?;
                self.push(Object::Tensor(view))
            }
            (Object::Global(Global::RebuildParameter), [tensor, ..])
                if matches!(self.object(*tensor), Object::Tensor(_)) =>
            {
                let tensor = *tensor;
                self.stack.push(tensor);
                Ok(())
            }
            _ => Err(PickleError::Arguments("a callable")),
        }
    }

    /// BINPERSID: `('storage', torch.FloatStorage, key, device, count)`.
    fn persistent(&mut self) -> Done {
        let id = self.pop("a storage")?;
        let wrong = PickleError::Arguments("persistent_load");
        let Object::Tuple(parts) = self.object(id) else { return Err(wrong) };
        let [kind, class, key, _, count, ..] = parts.as_slice() else { return Err(wrong) };
        let found = match [*kind, *class, *key, *count].map(|id| self.object(id)) {
            [
                Object::Text("storage"),
                Object::Global(Global::StorageType(element)),
                Object::Text(key),
                Object::Int(count),
            ] => usize::try_from(*count).ok().map(|count| Storage { key, element: *element, count }),
            _ => None,
        };
        self.push(Object::Storage(found.ok_or(wrong)?))
    }

    /// BINPUT, LONG_BINPUT, BINGET, LONG_BINGET.
    fn memo(&mut self, opcode: u8) -> Done {
        let place = match opcode {
            b'q' | b'h' => u32::from(self.byte()?),
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(opcode, b'q' | b'r') {
            let top = *self.stack.last().ok_or(PickleError::Stack("an object"))?;
            self.memo.insert(place, top);
            return Ok(());
        }
        let id = *self.memo.get(&place).ok_or(PickleError::Memo(place))?;
        self.stack.push(id);
        Ok(())
    }
}
