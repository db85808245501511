//! Values at stable indices, reused when they are free.

/// So many values lie together: what is full never moves again, however many more come.
const CHUNK: usize = 256;

pub(in crate::store::memory) struct Slab<T> {
    /// All but the last are full.
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> usize {
        if let Some(at) = self.free.pop()
            && let Some(place) = self.place(at)
        {
            *place = Some(value);
            return at;
        }
        let at = self.span();
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(Some(value)),
            None => self.chunks.push(vec![Some(value)]),
        }
        at
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        let value = self.place(at)?.take()?;
        self.free.push(at);
        Some(value)
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.place(at)?.as_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten().flatten()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().flatten()
    }

    /// One more than the highest index in use.
    pub(super) fn span(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    fn place(&mut self, at: usize) -> Option<&mut Option<T>> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_at_their_indices_and_free_ones_are_given_out_again() {
        let mut slab = Slab::new();
        let indices: Vec<_> = (0..3 * CHUNK + 1).map(|n| slab.insert(n)).collect();
        assert_eq!((indices, slab.span()), ((0..3 * CHUNK + 1).collect(), 3 * CHUNK + 1));
        for at in [CHUNK - 1, CHUNK, 3 * CHUNK] {
            assert_eq!((slab.remove(at), slab.remove(at), slab.get(at)), (Some(at), None, None));
        }
        assert_eq!(slab.iter().count(), 3 * CHUNK - 2);
        let mut again = [7, 8, 9].map(|value| slab.insert(value));
        again.sort_unstable();
        assert_eq!((again, slab.insert(0)), ([CHUNK - 1, CHUNK, 3 * CHUNK], 3 * CHUNK + 1));
        assert_eq!(slab.get(2 * CHUNK), Some(&(2 * CHUNK)));
    }
}
