"""The transformer encoder and decoder of `task: translate`.

shape      ids and lengths of source and target, from the data
layers     shapes of the weights of each layer, without Keras
network    the Keras network that is trained and saved: both texts → logits of the next tokens
decoding   texts, token by token: the same computation with a cache of keys and values
"""
