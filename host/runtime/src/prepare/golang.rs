//! Memory for the preview-1 adapter in a Go program.
//!
//! The adapter lives in its program's memory and needs two pages of it: from a function of the program, else
//! from `memory.grow`. Go's runtime takes all memory behind its data for its heap, in one piece, and would
//! write over pages that somebody else grew; and its exported functions cannot be called before it has begun,
//! which is when the adapter is first needed. So the program is told that its data ends two pages later than
//! it does, and is given a function that hands out these two.
//!
//! What an interface gives back in lists and strings needs memory, too, while the call is under way; a function
//! of Go's cannot give it, since Go may read the clock meanwhile, and who asks for memory may not be asked
//! anything himself. So the program is given a function for that as well: it hands out what the program put
//! aside before its call, and told at [`LENT_AT`]. `sdk/go/internal/wasi` does so.
//!
//! Pure. *Source:* Go's `runtime/mem_sbrk.go` and `os_wasm.go` (the heap begins at `firstmoduledata.end`),
//! `cmd/link/internal/wasm`; wit-component's `cabi_realloc_adapter`.

use anyhow::{Context as _, bail};
use wasm_encoder::{Encode as _, Function, RawSection, SectionId, ValType};
use wasmparser::{DataKind, Operator, Parser, Payload, TypeRef};

/// Bytes of a page of memory. *Source:* the WebAssembly core specification, memory instances.
const PAGE_BYTES: u32 = 64 << 10;

/// What the adapter asks for: a page for its state, one for its stack. *Source:* wit-component's `gc.rs`.
const PAGES: u32 = 2;

/// Bytes of data that are looked through: a hundred times those of `kubectl`, and a bound on what a made-up
/// address costs.
const DATA_BYTES_MAX: u32 = 512 << 20;

/// Zeros between two pieces of data that make them one: Go's linker leaves out every few of them, so that a larger
/// program has more pieces than the 100,000 that engines take.
const GAP_BYTES_MAX: usize = 64;

/// The section that Go's linker writes into each program.
const BUILD_ID: &str = "go:buildid";

/// Where a program tells the memory that it lends to a call: two words of 32 bits, its beginning and its end.
///
/// *Source:* Go's linker begins the data at 12288 (`wasmMinDataAddr`) and leaves what lies between the page of
/// the null pointer and there to the environment in a browser: nobody else uses it.
const LENT_AT: u32 = 4096;

/// The functions that give memory to the adapter and to other calls. *Source:* wit-component.
const REALLOC_ADAPTER: &str = "cabi_realloc_adapter";
const REALLOC: &str = "cabi_realloc";

/// Words of the runtime's module data that are addresses in the order of memory, the last being the end:
/// `noptrdata` to `end`. *Source:* `runtime.moduledata` of Go 1.24, 1.25 and 1.26.
const ADDRESSES: usize = 11;

/// What the owner of a program reads whose runtime was not made out.
const UNKNOWN: &str = "a Go program whose runtime is of an unknown make: build it with Go 1.24 or newer, and \
                       without tools that rewrite its data";

/// Gives a Go program's adapter its memory; another program is given back as it is.
///
/// # Errors
/// [`UNKNOWN`], and what is not valid.
pub(crate) fn make_room(module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let Some(program) = Program::read(&module)? else { return Ok(module) };
    let (at, end) = program.end_of_data().context(UNKNOWN)?;
    if !program.is_plain || program.data.iter().any(|(at, _)| *at < LENT_AT + 8) {
        bail!(UNKNOWN);
    }
    let room = end.checked_next_multiple_of(PAGE_BYTES).context(UNKNOWN)?;
    let heap = room.checked_add(PAGES * PAGE_BYTES).context(UNKNOWN)?;
    Ok(program.rewrite(&module, &Room { told_at: at, from: room, to: heap })?)
}

/// The pages that are the adapter's.
struct Room {
    /// Where the runtime reads the end of its data.
    told_at: u32,
    from: u32,
    to: u32,
}

/// What must be known of a program to add to it.
struct Program<'a> {
    is_go: bool,
    /// Whether all data lies at fixed places from the start.
    is_plain: bool,
    types: u32,
    functions: u32,
    globals: u32,
    memory_pages: u64,
    /// Whether the program has a function of its own that gives memory to calls.
    has_realloc: bool,
    data: Vec<(u32, &'a [u8])>,
}

impl<'a> Program<'a> {
    /// Reads a module; nothing if it is not Go's.
    fn read(module: &'a [u8]) -> anyhow::Result<Option<Self>> {
        let mut program = Self {
            is_go: false,
            is_plain: true,
            types: 0,
            functions: 0,
            globals: 0,
            memory_pages: 0,
            has_realloc: false,
            data: Vec::new(),
        };
        for payload in Parser::new(0).parse_all(module) {
            program.add(payload?)?;
        }
        Ok(program.is_go.then_some(program))
    }

    fn add(&mut self, payload: Payload<'a>) -> anyhow::Result<()> {
        if let Payload::CustomSection(section) = payload {
            self.is_go |= section.name() == BUILD_ID;
        } else if let Payload::TypeSection(section) = payload {
            self.types = section.count();
        } else if let Payload::ImportSection(section) = payload {
            for import in section.into_imports() {
                self.functions += u32::from(matches!(import?.ty, TypeRef::Func(_)));
            }
        } else if let Payload::FunctionSection(section) = payload {
            self.functions += section.count();
        } else if let Payload::MemorySection(section) = payload {
            for memory in section {
                self.memory_pages = memory?.initial;
            }
        } else if let Payload::GlobalSection(section) = payload {
            self.globals = section.count();
        } else if let Payload::ExportSection(section) = payload {
            for export in section {
                self.has_realloc |= export?.name == REALLOC;
            }
        } else if let Payload::DataSection(section) = payload {
            for data in section {
                let data = active(&data?)?;
                self.is_plain &= data.is_some();
                self.data.extend(data);
            }
        }
        Ok(())
    }

    /// Where the runtime keeps the end of its data, and that end.
    ///
    /// Nothing unless there is exactly one such place.
    fn end_of_data(&self) -> Option<(u32, u32)> {
        let words = self.words()?;
        let memory = self.memory_pages.checked_mul(u64::from(PAGE_BYTES))?;
        let mut found = words.windows(ADDRESSES + 1).enumerate().filter_map(|(index, window)| {
            let (addresses, after) = window.split_at_checked(ADDRESSES)?;
            let (first, end) = (*addresses.first()?, *addresses.last()?);
            // What follows are masks of the collector, in the data before all these addresses.
            let is_it = first > 0
                && addresses.is_sorted()
                && first < end
                && end <= memory
                && end.saturating_add(8) > 8 * words.len() as u64
                && after.first().is_some_and(|mask| (1..first).contains(mask));
            let at = u32::try_from((index + ADDRESSES - 1) * 8).ok()?;
            is_it.then_some((at, u32::try_from(end).ok()?))
        });
        let one = found.next()?;
        found.next().is_none().then_some(one)
    }

    /// The data as the program finds it in memory, in words from address 0.
    fn words(&self) -> Option<Vec<u64>> {
        let ends = self.data.iter().map(|(at, bytes)| {
            let length = u32::try_from(bytes.len()).ok()?;
            at.checked_add(length).filter(|end| *end <= DATA_BYTES_MAX)
        });
        let end = ends.collect::<Option<Vec<u32>>>()?.into_iter().max()?;
        let mut image = vec![0; end.checked_next_multiple_of(8)? as usize];
        for (at, bytes) in &self.data {
            let at = *at as usize;
            image.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        }
        let (words, _) = image.as_chunks::<8>();
        Some(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    /// Writes the program anew, with an entry more in its sections.
    fn rewrite(&self, module: &[u8], room: &Room) -> wasmparser::Result<Vec<u8>> {
        let mut out = wasm_encoder::Module::new();
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            if let Payload::MemorySection(_) = payload {
                let pages = self.memory_pages.saturating_add(u64::from(PAGES));
                let mut memories = wasm_encoder::MemorySection::new();
                memories.memory(wasm_encoder::MemoryType {
                    minimum: pages,
                    maximum: None,
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                });
                out.section(&memories);
            } else if let Payload::DataSection(_) = payload {
                out.section(&self.joined_data(room));
            } else if let Some((id, range)) = payload.as_section() {
                let data = module.get(range).unwrap_or_default();
                let data = match self.entries(id, room) {
                    None => data.to_vec(),
                    Some(entries) => with_entries(data, &entries)?,
                };
                out.section(&RawSection { id, data: &data });
            }
        }
        Ok(out.finish())
    }

    /// The data in fewer pieces, and at last what the runtime is told.
    fn joined_data(&self, room: &Room) -> wasm_encoder::DataSection {
        let mut section = wasm_encoder::DataSection::new();
        let mut add = |at: u32, bytes: &[u8]| {
            let at = wasm_encoder::ConstExpr::i32_const(at.cast_signed());
            section.active(0, &at, bytes.iter().copied());
        };
        let mut piece: Option<(u32, Vec<u8>)> = None;
        for (at, bytes) in &self.data {
            let gap = piece.as_ref().and_then(|(from, held)| {
                let gap = (*at as usize).checked_sub(*from as usize + held.len())?;
                Some(gap).filter(|gap| *gap <= GAP_BYTES_MAX)
            });
            if let (Some((_, held)), Some(gap)) = (&mut piece, gap) {
                held.resize(held.len() + gap, 0);
                held.extend_from_slice(bytes);
            } else if let Some((from, held)) = piece.replace((*at, bytes.to_vec())) {
                add(from, &held);
            }
        }
        if let Some((from, held)) = piece {
            add(from, &held);
        }
        add(room.told_at, &u64::from(room.to).to_le_bytes());
        section
    }

    /// What a section gets at its end.
    fn entries(&self, section: u8, room: &Room) -> Option<Vec<Vec<u8>>> {
        /// The only kind of value there is here: `i32`.
        const I32: u8 = 0x7f;
        let both = [(REALLOC_ADAPTER, hand_out(self.globals, room.to)), (REALLOC, lend())];
        let functions = if self.has_realloc { &both[..1] } else { &both[..] };
        let mut entry = Vec::new();
        if section == SectionId::Type as u8 {
            entry.extend([0x60, 4, I32, I32, I32, I32, 1, I32]);
        } else if section == SectionId::Function as u8 {
            self.types.encode(&mut entry);
            return Some(vec![entry; functions.len()]);
        } else if section == SectionId::Global as u8 {
            entry.extend([I32, 1]);
            constant(room.from, &mut entry);
        } else if section == SectionId::Export as u8 {
            let exports = (self.functions..).zip(functions);
            return Some(exports.map(|(index, (name, _))| export(name, index)).collect());
        } else if section == SectionId::Code as u8 {
            return Some(functions.iter().map(|(_, function)| encoded(function)).collect());
        } else {
            return None;
        }
        Some(vec![entry])
    }
}

fn encoded(function: &Function) -> Vec<u8> {
    let mut entry = Vec::new();
    function.encode(&mut entry);
    entry
}

fn export(name: &str, function: u32) -> Vec<u8> {
    let mut entry = Vec::new();
    name.encode(&mut entry);
    entry.push(0);
    function.encode(&mut entry);
    entry
}

/// A segment that lies at a fixed place from the start.
fn active<'a>(data: &wasmparser::Data<'a>) -> wasmparser::Result<Option<(u32, &'a [u8])>> {
    let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return Ok(None) };
    let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
        return Ok(None);
    };
    Ok(Some((value.cast_unsigned(), data.data)))
}

/// An expression that gives an address.
fn constant(address: u32, out: &mut Vec<u8>) {
    out.push(0x41);
    address.cast_signed().encode(out);
    out.push(0x0b);
}

/// A section that is a list, with some entries more.
fn with_entries(section: &[u8], entries: &[Vec<u8>]) -> wasmparser::Result<Vec<u8>> {
    let mut reader = wasmparser::BinaryReader::new(section, 0);
    let count = reader.read_var_u32()?;
    let mut out = Vec::with_capacity(section.len() + 1);
    count.saturating_add(entries.len() as u32).encode(&mut out);
    out.extend_from_slice(section.get(reader.original_position()..).unwrap_or_default());
    out.extend(entries.iter().flatten());
    Ok(out)
}

/// The parameters of a function that gives memory: what there was before, its length, and what is wanted.
///
/// *Source:* the component model's canonical ABI, `realloc`.
const OLD_BYTES: u32 = 1;
const ALIGN: u32 = 2;
const BYTES: u32 = 3;

/// The function that gives one page after the other, and traps when they are gone or something else is
/// asked for. `next` is the global with the address of the next page.
fn hand_out(next: u32, end: u32) -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    let page = 4;
    let mut body = function.instructions();
    body.local_get(BYTES).i32_const(PAGE_BYTES.cast_signed()).i32_ne();
    body.global_get(next).i32_const(end.cast_signed()).i32_ge_u().i32_or();
    body.if_(wasm_encoder::BlockType::Empty).unreachable().end();
    body.global_get(next).local_tee(page);
    body.i32_const(PAGE_BYTES.cast_signed()).i32_add().global_set(next);
    body.local_get(page).end();
    function
}

/// The function that gives parts of what the program lent; it traps when that is used up, and when a part
/// should grow, which no call of a host asks for.
fn lend() -> Function {
    let mut function = Function::new([(2, ValType::I32)]);
    let (from, to) = (4, 5);
    let word = |offset| wasm_encoder::MemArg { offset, align: 2, memory_index: 0 };
    let (next, end) = (word(u64::from(LENT_AT)), word(u64::from(LENT_AT) + 4));
    let mut body = function.instructions();
    // The next address that is aligned: (next + align - 1) & -align.
    body.i32_const(0).i32_load(next).local_get(ALIGN).i32_add().i32_const(1).i32_sub();
    body.i32_const(0).local_get(ALIGN).i32_sub().i32_and().local_tee(from);
    body.local_get(BYTES).i32_add().local_tee(to);
    body.i32_const(0).i32_load(end).i32_gt_u();
    body.local_get(to).local_get(from).i32_lt_u().i32_or();
    body.local_get(OLD_BYTES).i32_or();
    body.if_(wasm_encoder::BlockType::Empty).unreachable().end();
    body.i32_const(0).local_get(to).i32_store(next);
    body.local_get(from).end();
    function
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{
        CodeSection, ConstExpr, CustomSection, DataSection, ExportSection, FunctionSection,
        GlobalSection, GlobalType, MemorySection, MemoryType, Module, TypeSection,
    };

    /// Where the made-up program has its module data, and where its data ends.
    const MODULE_DATA: u32 = 0x4000;
    const END: u32 = 0x1_2345;

    /// A program with these words at the place of its module data.
    fn program(words: &[u64]) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&CustomSection { name: BUILD_ID.into(), data: b"id".into() });
        let mut types = TypeSection::new();
        types.ty().function([], []);
        module.section(&types);
        let mut functions = FunctionSection::new();
        functions.function(0);
        module.section(&functions);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: 17,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        module.section(&memories);
        let mut globals = GlobalSection::new();
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(0));
        module.section(&globals);
        let mut exports = ExportSection::new();
        exports.export("memory", wasm_encoder::ExportKind::Memory, 0);
        module.section(&exports);
        let mut code = CodeSection::new();
        let mut body = Function::new([]);
        body.instructions().end();
        code.function(&body);
        module.section(&code);
        let mut data = DataSection::new();
        data.active(0, &ConstExpr::i32_const(0x3000), *b"some");
        data.active(0, &ConstExpr::i32_const(0x3010), *b"constants");
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        data.active(0, &ConstExpr::i32_const(MODULE_DATA.cast_signed()), bytes);
        module.section(&data);
        module.finish()
    }

    fn module_data() -> Vec<u64> {
        let end = u64::from(END);
        let text = [0x1_0000, 0x1500_0000, 0x10];
        let addresses =
            [0x4000, 0x4800, 0x4800, 0x5000, 0x5000, 0x6000, 0x6000, end, end, end, end];
        [&text[..], &addresses, &[0x3000, 0x3008]].concat()
    }

    #[test]
    fn a_go_program_s_heap_begins_behind_the_room() {
        let module = make_room(program(&module_data())).unwrap();
        wasmparser::Validator::new().validate_all(&module).unwrap();
        let program = Program::read(&module).unwrap().unwrap();
        let (at, told) = program.end_of_data().unwrap();
        assert_eq!(at, MODULE_DATA + 13 * 8);
        assert_eq!(told, 0x4_0000, "two pages after the one in which the data ends");
        assert_eq!(program.memory_pages, 19);
        assert_eq!((program.types, program.functions, program.globals), (2, 3, 2));
        let super::super::inspect::Shape::Module(names) =
            super::super::inspect::shape(&module).unwrap()
        else {
            panic!("a module stays one")
        };
        let pieces: Vec<u32> = program.data.iter().map(|(at, _)| *at).collect();
        assert_eq!(pieces, [0x3000, MODULE_DATA, at], "two that lie near are one");
        assert_eq!(names.exports, ["memory", "cabi_realloc_adapter", "cabi_realloc"]);
    }

    #[test]
    fn what_cannot_be_told_for_certain_is_refused() {
        let mut unsorted = module_data();
        unsorted.swap(3, 10);
        let twice = [module_data(), module_data()].concat();
        let mut beyond = module_data();
        beyond[13] = 18 << 16;
        for words in [unsorted, twice, beyond, Vec::new()] {
            let error = make_room(program(&words)).unwrap_err();
            assert_eq!(error.to_string(), UNKNOWN, "{words:x?}");
        }
    }

    #[test]
    fn other_programs_stay_as_they_are() {
        let mut module = program(&module_data());
        let at = module.windows(BUILD_ID.len()).position(|part| part == BUILD_ID.as_bytes());
        module[at.unwrap()] = b'G';
        assert_eq!(make_room(module.clone()).unwrap(), module);
    }
}
