//! Trees of dicts, lists and tuples that are recognised in a fraction of the time that taking them apart takes.

use std::ptr::null_mut;
use std::slice::Iter;

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple, PyType};

/// The containers of a tree, in the order in which it has them.
pub struct Structure(Vec<Node>);

/// One of them, or a leaf; children follow it.
enum Node {
    /// The position among all leaves.
    Leaf(usize),
    /// A list, a tuple, or a named one.
    Row {
        kind: Py<PyType>,
        len: isize,
    },
    Dict {
        kind: Py<PyType>,
        keys: Box<[Py<PyAny>]>,
    },
}

impl Node {
    fn row(tree: &Bound<'_, PyAny>, len: usize) -> Self {
        Self::Row { kind: tree.get_type().unbind(), len: len.cast_signed() }
    }
}

type Size = unsafe extern "C" fn(*mut ffi::PyObject) -> isize;
type Item = unsafe extern "C" fn(*mut ffi::PyObject, isize) -> *mut ffi::PyObject;

/// Trees of more levels are not looked into.
const DEEP: usize = 100;

impl Structure {
    /// That of `tree`, where it has no other containers. `numbers` is a tree like it of the positions of its
    /// `leaves`; dicts match by key, whatever their order.
    pub fn of(tree: &Bound<'_, PyAny>, numbers: &Bound<'_, PyAny>, leaves: usize) -> Option<Self> {
        let mut nodes = Vec::new();
        collect(tree, numbers, &mut nodes, 0)?;
        let mut is_there = vec![false; leaves];
        let count = nodes
            .iter()
            .filter_map(|node| match node {
                Node::Leaf(at) => Some(is_there.get_mut(*at).map(|is_there| *is_there = true)),
                _ => None,
            })
            .count();
        (count == leaves && !is_there.contains(&false)).then_some(Self(nodes))
    }

    /// Whether `tree` has this shape and these very objects at its leaves, by address; 0 stands for any.
    pub fn holds(&self, tree: &Bound<'_, PyAny>, leaves: &[usize]) -> bool {
        let same = |at: usize, leaf: *mut ffi::PyObject| {
            leaves.get(at).is_some_and(|&address| address == 0 || address == leaf.addr())
        };
        // SAFETY: `tree` is alive; `same` runs no code of Python's.
        unsafe { visit(&mut self.0.iter(), tree.as_ptr(), &mut { same }) }
    }

    /// Hands over the leaves of `tree` as long as it has this shape and `take` takes them; whether it took all.
    pub fn each<'py>(
        &self,
        tree: &Bound<'py, PyAny>,
        mut take: impl FnMut(usize, &Bound<'py, PyAny>) -> bool,
    ) -> bool {
        let py = tree.py();
        let mut own = |at: usize, leaf: *mut ffi::PyObject| {
            // SAFETY: `visit` hands out objects that are alive, of which this makes a reference.
            take(at, &unsafe { Bound::from_borrowed_ptr(py, leaf) })
        };
        // SAFETY: `tree` is alive.
        unsafe { visit(&mut self.0.iter(), tree.as_ptr(), &mut own) }
    }

    /// Keys may refer to anything.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.iter().try_for_each(|node| match node {
            Node::Leaf(_) => Ok(()),
            Node::Row { kind, .. } => visit.call(kind),
            Node::Dict { kind, keys } => {
                visit.call(kind)?;
                keys.iter().try_for_each(|key| visit.call(key))
            }
        })
    }
}

/// Appends the nodes of `tree`.
fn collect(
    tree: &Bound<'_, PyAny>,
    numbers: &Bound<'_, PyAny>,
    nodes: &mut Vec<Node>,
    depth: usize,
) -> Option<()> {
    if let Ok(number) = numbers.cast_exact::<PyInt>() {
        nodes.push(Node::Leaf(number.extract().ok()?));
        return Some(());
    }
    if depth == DEEP {
        return None;
    }
    if let Ok(list) = tree.cast_exact::<PyList>() {
        let numbers = numbers.cast_exact::<PyList>().ok()?;
        nodes.push(Node::row(tree, list.len()));
        return each_child(list.iter(), numbers.iter(), nodes, depth);
    }
    if let Ok(tuple) = tree.cast::<PyTuple>() {
        let numbers = numbers.cast::<PyTuple>().ok().filter(|_| is_alike(tree, numbers))?;
        nodes.push(Node::row(tree, tuple.len()));
        return each_child(tuple.iter(), numbers.iter(), nodes, depth);
    }
    let dict = tree.cast::<PyDict>().ok().filter(|_| is_plain_dict(tree))?;
    let numbers = numbers.cast::<PyDict>().ok()?;
    let (keys, children) = (dict.keys(), dict.values());
    let numbers = keys.iter().map(|key| numbers.get_item(key).ok().flatten());
    let numbers = numbers.collect::<Option<Vec<_>>>()?;
    let keys = keys.iter().map(Bound::unbind).collect();
    nodes.push(Node::Dict { kind: tree.get_type().unbind(), keys });
    each_child(children.iter(), numbers.into_iter(), nodes, depth)
}

fn each_child<'py>(
    children: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
    numbers: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
    nodes: &mut Vec<Node>,
    depth: usize,
) -> Option<()> {
    if children.len() != numbers.len() {
        return None;
    }
    for (child, number) in children.zip(numbers) {
        collect(&child, &number, nodes, depth + 1)?;
    }
    Some(())
}

/// Whether two tuples are plain or of one named class.
fn is_alike(tree: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> bool {
    tree.get_type().is(other.get_type())
        && (tree.is_exact_instance_of::<PyTuple>() || tree.hasattr("_fields").unwrap_or(false))
}

/// Whether a dict is one of those that are told apart by their keys alone.
fn is_plain_dict(tree: &Bound<'_, PyAny>) -> bool {
    let is_of = |name| {
        let kind = tree.py().import("collections").and_then(|module| module.getattr(name));
        kind.is_ok_and(|kind| tree.get_type().is(&kind))
    };
    tree.is_exact_instance_of::<PyDict>() || is_of("OrderedDict") || is_of("defaultdict")
}

/// Whether `object` and what is in it are as `nodes` say, and `leaf` takes each of the leaves.
///
/// # Safety
/// `object` is alive, and the interpreter is held.
unsafe fn visit(
    nodes: &mut Iter<'_, Node>,
    object: *mut ffi::PyObject,
    leaf: &mut impl FnMut(usize, *mut ffi::PyObject) -> bool,
) -> bool {
    // SAFETY: each object has a type, and the functions of a class are called for its instances. `leaf` may take a
    // container out of the tree, which `Kept` keeps alive, or change it: its items are asked for one by one, and
    // are alive when they are handed on.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        match nodes.next() {
            None => false,
            Some(Node::Leaf(at)) => leaf(*at, object),
            Some(Node::Row { kind: expected, len }) => {
                let _kept = Kept::new(object);
                let (size, item): (Size, Item) = if kind == &raw mut ffi::PyList_Type {
                    (ffi::PyList_Size, ffi::PyList_GetItem)
                } else {
                    (ffi::PyTuple_Size, ffi::PyTuple_GetItem)
                };
                kind == expected.as_ptr().cast()
                    && size(object) == *len
                    && (0..*len).all(|at| {
                        let child = item(object, at);
                        is_there(child) && visit_child(nodes, child, leaf)
                    })
            }
            Some(Node::Dict { kind: expected, keys }) => {
                let _kept = Kept::new(object);
                let (mut at, mut key, mut child) = (0, null_mut(), null_mut());
                kind == expected.as_ptr().cast()
                    && ffi::PyDict_Size(object).cast_unsigned() == keys.len()
                    && keys.iter().all(|own| {
                        ffi::PyDict_Next(object, &raw mut at, &raw mut key, &raw mut child) != 0
                            && is_key(key, own.as_ptr())
                            && visit_child(nodes, child, leaf)
                    })
            }
        }
    }
}

/// Visits what a container has at one place: a leaf at once, which spares a call of [`visit`], or what is below.
///
/// # Safety
/// `object` is a valid reference, and the interpreter is held.
#[inline]
unsafe fn visit_child(
    nodes: &mut Iter<'_, Node>,
    object: *mut ffi::PyObject,
    leaf: &mut impl FnMut(usize, *mut ffi::PyObject) -> bool,
) -> bool {
    if let [Node::Leaf(at), rest @ ..] = nodes.as_slice() {
        *nodes = rest.iter();
        return leaf(*at, object);
    }
    // SAFETY: as the caller says.
    unsafe { visit(nodes, object, leaf) }
}

/// Whether a container had an item; the exception is dropped where it had none.
///
/// # Safety
/// The interpreter is held.
unsafe fn is_there(item: *mut ffi::PyObject) -> bool {
    if item.is_null() {
        // SAFETY: the interpreter is held.
        unsafe { ffi::PyErr_Clear() };
    }
    !item.is_null()
}

/// Whether two keys are one object, or strings that are equal; to compare others may run any code.
///
/// # Safety
/// Both are alive, and the interpreter is held.
unsafe fn is_key(key: *mut ffi::PyObject, own: *mut ffi::PyObject) -> bool {
    // SAFETY: both have a type, and are strings where they are compared as such, which raises nothing.
    key == own
        || unsafe {
            ffi::PyUnicode_CheckExact(key) != 0
                && ffi::PyUnicode_CheckExact(own) != 0
                && ffi::PyUnicode_Compare(key, own) == 0
        }
}

/// Keeps an object alive.
struct Kept(*mut ffi::PyObject);

impl Kept {
    /// # Safety
    /// `object` is alive, and the interpreter is held as long as this lives.
    unsafe fn new(object: *mut ffi::PyObject) -> Self {
        // SAFETY: as the caller says.
        unsafe { ffi::Py_IncRef(object) };
        Self(object)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: gives back the reference that `new` took, with the interpreter held.
        unsafe { ffi::Py_DecRef(self.0) };
    }
}
