"""Pretrained networks whose output for an image or a text is the input of the hidden layers.

    torch_files, safetensors_files, hdf5_files    arrays by name, without executing pickles
    keras_config                                  the architecture in a file of Keras, checked
    architectures, lite_layout, applications      networks by name, and the shapes of their weights
    description                                   a base network as the plan of a run needs it
    contents                                      checks of its weights
    building                                      the Keras network with its weights
    encoders, encoder_folder                      encoders of texts, and the same for their folders
    encoder_network                               the Keras network of an encoder, and its adapters

Only `building`, `efficientnet_lite` and `encoder_network` import Keras.
"""
