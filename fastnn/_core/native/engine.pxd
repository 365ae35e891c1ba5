from fastnn._core.native.fastnn cimport (
    fnn_activation,
    fnn_loss,
    fnn_optimizer,
    fnn_stateless,
)

cdef const fnn_stateless *stateless() noexcept
cdef void *address(object array, int flags=*) except? NULL
cdef fnn_optimizer describe_optimizer(object spec) except *
cdef fnn_activation describe_activation(object spec) except *
cdef fnn_loss describe_loss(object spec) except *
