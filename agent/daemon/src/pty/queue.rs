//! Bytes that wait for a descriptor to take them. It knows no bound of its own: whoever pushes looks at the length first.

/// Bytes in order, taken from the front in pieces.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Moving what waits costs its length, so it pays only after as much has left.
        if self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What still waits.
    pub(super) fn front(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Forgets bytes that were taken. An empty queue keeps no memory: most sessions are idle.
    pub(super) fn advance(&mut self, taken: usize) {
        self.start = self.start.saturating_add(taken).min(self.bytes.len());
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn bytes_leave_in_the_order_they_came_and_leave_no_memory() {
        let mut queue = Queue::default();
        queue.push(b"abc");
        queue.advance(2);
        queue.push(b"de");
        assert_eq!(queue.front(), b"cde");
        queue.advance(9);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes.capacity(), 0);
    }
}
