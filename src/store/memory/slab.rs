//! Values at stable indices, reused when they are free.

pub(in crate::store::memory) struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> usize {
        match self.free.pop() {
            Some(at) => {
                self.values[at] = Some(value);
                at
            }
            None => {
                self.values.push(Some(value));
                self.values.len() - 1
            }
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        let value = self.values.get_mut(at)?.take()?;
        self.free.push(at);
        Some(value)
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.values.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.values.get_mut(at)?.as_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().flatten()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter().flatten()
    }

    /// One more than the highest index in use.
    pub(super) fn span(&self) -> usize {
        self.values.len()
    }
}
