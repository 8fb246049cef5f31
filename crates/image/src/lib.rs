//! The image service: pull, push, unpack, load, save, import, tag, list, history, remove.
