//! Dockerfile to image: parser, stage graph, solver with a content-addressed cache.
