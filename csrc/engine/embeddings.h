/* The ways of embeddings, and of functions with parameters. */
#ifndef FNN_EMBEDDINGS_H
#define FNN_EMBEDDINGS_H

#include "engine/network.h"

extern const fnn_stage_way fnn_periodic_way, fnn_piecewise_way, fnn_table_way,
    fnn_parametric_way;

#endif
