from fastnn._fastnn cimport fnn_optimizer, fnn_stateless

cdef const fnn_stateless *stateless() noexcept
cdef fnn_optimizer describe_optimizer(object spec) except *
