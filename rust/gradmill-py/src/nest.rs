//! Trees of dicts, lists, and tuples with and without names, taken apart and put together by a pattern of them.

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyAnyMethods, PyDict, PyList, PyTuple, PyType};
use smallvec::SmallVec;

/// A node of a pattern. Leaves are numbered in their order.
enum Node {
    Leaf,
    /// The keys in the order of the leaves and the nodes there, and a dict that has the keys in its own order.
    Dict(Vec<(Py<PyAny>, Node)>, Py<PyDict>),
    List(Vec<Node>),
    Tuple(Vec<Node>),
    Named(Py<PyType>, Vec<Node>),
}

/// The pattern of a tree, which others are compared with and taken apart by.
#[pyclass(frozen, module = "gradmill._core")]
pub struct Nest {
    root: Node,
    leaves: usize,
}

/// What stands at the leaves of a state, with room for those of most.
pub type Leaves<'py> = SmallVec<[Bound<'py, PyAny>; 16]>;

/// The type of NumPy's arrays.
fn array_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static ARRAY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    ARRAY.import(py, "numpy", "ndarray")
}

impl Node {
    /// Reads a description: None for a leaf, else a type with children, and keys where it is a dict.
    fn of(described: &Bound<'_, PyAny>, leaves: &mut usize) -> PyResult<Self> {
        if described.is_none() {
            *leaves += 1;
            return Ok(Self::Leaf);
        }
        let py = described.py();
        let (kind, children, keys, order): Described<'_> = described.extract()?;
        let mut nodes = Vec::with_capacity(children.len());
        for child in &children {
            nodes.push(Self::of(child, leaves)?);
        }
        Ok(if kind.is(py.get_type::<PyDict>()) {
            let like = PyDict::new(py);
            for &at in &order {
                let key = keys.get(at).ok_or_else(|| PyValueError::new_err(OTHER_KEYS))?;
                like.set_item(key, py.None())?;
            }
            if like.len() != nodes.len() || keys.len() != nodes.len() {
                return Err(PyValueError::new_err(OTHER_KEYS));
            }
            let keys = keys.into_iter().map(Bound::unbind);
            Self::Dict(keys.zip(nodes).collect(), like.unbind())
        } else if kind.is(py.get_type::<PyList>()) {
            Self::List(nodes)
        } else if kind.is(py.get_type::<PyTuple>()) {
            Self::Tuple(nodes)
        } else {
            Self::Named(kind.unbind(), nodes)
        })
    }

    /// Hands over the leaves of `tree`; whether it has this pattern.
    fn take<'py>(
        &self,
        tree: &Bound<'py, PyAny>,
        leaf: &mut dyn FnMut(&Bound<'py, PyAny>) -> PyResult<()>,
    ) -> PyResult<bool> {
        let py = tree.py();
        let nodes = match self {
            Self::Leaf => {
                leaf(tree)?;
                return Ok(true);
            }
            Self::Dict(pairs, _) => {
                let Ok(dict) = tree.cast_exact::<PyDict>() else { return Ok(false) };
                if dict.len() != pairs.len() {
                    return Ok(false);
                }
                for (key, node) in pairs {
                    match dict.get_item(key.bind(py)) {
                        Ok(Some(child)) if node.take(&child, leaf)? => {}
                        Err(error) if !error.is_instance_of::<PyException>(py) => {
                            return Err(error);
                        }
                        // Another key may look the same until it is compared.
                        _ => return Ok(false),
                    }
                }
                return Ok(true);
            }
            Self::List(nodes) => {
                let Ok(list) = tree.cast_exact::<PyList>() else { return Ok(false) };
                if list.len() != nodes.len() {
                    return Ok(false);
                }
                for (node, child) in nodes.iter().zip(list) {
                    if !node.take(&child, leaf)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            Self::Tuple(nodes) => {
                if !tree.is_exact_instance_of::<PyTuple>() {
                    return Ok(false);
                }
                nodes
            }
            Self::Named(kind, nodes) => {
                if !tree.get_type().is(kind) {
                    return Ok(false);
                }
                nodes
            }
        };
        let Ok(tuple) = tree.cast::<PyTuple>() else { return Ok(false) };
        if tuple.len() != nodes.len() {
            return Ok(false);
        }
        for (node, child) in nodes.iter().zip(tuple.iter_borrowed()) {
            if !node.take(&child, leaf)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The tree with these leaves, of which there are enough.
    fn build<'py>(
        &self,
        py: Python<'py>,
        leaves: &mut impl Iterator<Item = Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut all = |nodes: &[Self]| {
            nodes.iter().map(|node| node.build(py, leaves)).collect::<PyResult<Vec<_>>>()
        };
        Ok(match self {
            Self::Leaf => leaves.next().ok_or_else(|| PyValueError::new_err(TOO_FEW))?,
            Self::Dict(pairs, like) => {
                // A copy has room for all keys, in their order.
                let dict = like.bind(py).copy()?;
                for (key, node) in pairs {
                    dict.set_item(key, node.build(py, leaves)?)?;
                }
                dict.into_any()
            }
            Self::List(nodes) => PyList::new(py, all(nodes)?)?.into_any(),
            Self::Tuple(nodes) => PyTuple::new(py, all(nodes)?)?.into_any(),
            Self::Named(kind, nodes) => named(kind.bind(py), PyTuple::new(py, all(nodes)?)?)?,
        })
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Leaf => Ok(()),
            Self::Dict(pairs, like) => {
                visit.call(like)?;
                pairs.iter().try_for_each(|(key, node)| {
                    visit.call(key)?;
                    node.traverse(visit)
                })
            }
            Self::List(nodes) | Self::Tuple(nodes) => {
                nodes.iter().try_for_each(|node| node.traverse(visit))
            }
            Self::Named(kind, nodes) => {
                visit.call(kind)?;
                nodes.iter().try_for_each(|node| node.traverse(visit))
            }
        }
    }
}

/// What is wrong with a dict that is described.
const OTHER_KEYS: &str = "an order of other keys";

/// What is wrong with leaves for a tree of more.
const TOO_FEW: &str = "too few leaves";

/// A type, its children, and for a dict their keys and the order that they have in it.
type Described<'py> =
    (Bound<'py, PyType>, Vec<Bound<'py, PyAny>>, Vec<Bound<'py, PyAny>>, Vec<usize>);

/// A tuple of a class of named ones, with these fields.
fn named<'py>(
    kind: &Bound<'py, PyType>,
    fields: Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = kind.py();
    let make = MAKE
        .get_or_try_init(py, || py.get_type::<PyTuple>().getattr("__new__").map(Bound::unbind))?;
    make.bind(py).call1((kind, fields))
}

impl Nest {
    /// The leaves of `tree`, where it has this pattern and these are arrays of NumPy's own class or None.
    pub fn arrays<'py>(
        &self,
        tree: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let array = array_type(tree.py())?;
        let (mut leaves, mut are_plain) = (Vec::with_capacity(self.leaves), true);
        let is_alike = self.root.take(tree, &mut |leaf| {
            are_plain &= leaf.get_type().is(array) || leaf.is_none();
            leaves.push(leaf.clone());
            Ok(())
        })?;
        Ok((is_alike && are_plain).then_some(leaves))
    }

    /// What stands in the places of leaves, where `tree` has this pattern.
    pub fn found<'py>(&self, tree: &Bound<'py, PyAny>) -> PyResult<Option<Leaves<'py>>> {
        let mut leaves = Leaves::with_capacity(self.leaves);
        let is_alike = self.root.take(tree, &mut |leaf| {
            leaves.push(leaf.clone());
            Ok(())
        })?;
        Ok(is_alike.then_some(leaves))
    }

    /// The tree with these leaves.
    pub fn built<'py>(
        &self,
        py: Python<'py>,
        leaves: impl IntoIterator<Item = Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.root.build(py, &mut leaves.into_iter())
    }
}

#[pymethods]
impl Nest {
    /// Takes a description of the tree: None for a leaf; else the type, the children, and for a dict their keys and
    /// the positions among these of the keys in the order of the dict.
    #[new]
    fn new(described: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut leaves = 0;
        let root = Node::of(described, &mut leaves)?;
        Ok(Self { root, leaves })
    }

    /// The leaves of a tree of this pattern, where each is of one of these classes; None for any other tree.
    fn take<'py>(
        &self,
        tree: &Bound<'py, PyAny>,
        kinds: &Bound<'py, PyTuple>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let (leaves, mut are_usual) = (PyList::empty(tree.py()), true);
        let is_alike = self.root.take(tree, &mut |leaf| {
            let kind = leaf.get_type();
            are_usual &= kinds.iter_borrowed().any(|usual| kind.is(&*usual));
            leaves.append(leaf)
        })?;
        Ok((is_alike && are_usual).then_some(leaves))
    }

    /// The tree of this pattern with other leaves.
    fn build<'py>(&self, leaves: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>> {
        if leaves.len() != self.leaves {
            return Err(PyValueError::new_err("another number of leaves"));
        }
        self.built(leaves.py(), leaves)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.root.traverse(&visit)
    }
}
